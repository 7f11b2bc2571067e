import shutil

import pandas as pd
import pytest

from prerl.files.atomic import write_jsonl, write_table
from prerl.files.checksums import sha256
from prerl.problems.overlap import overlaps
from prerl.problems.public import PublicSet
from prerl.problems.sets import write_public_sets
from prerl.settings.model import PublicProblems
from tests.helpers import ROOT


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of what Snakemake reads, so that no results of the checkout count."""
    copy = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "workflow", copy / "workflow")
    shutil.copytree(ROOT / "paper", copy / "paper")
    shutil.copy(ROOT / "Snakefile", copy)
    return copy


@pytest.fixture(scope="module")
def public_sets(tokenizer, tmp_path_factory):
    """Directory of problem sets of a public world, and of the summary of what they share."""
    root, data = (tmp_path_factory.mktemp(name) for name in ("public", "data"))
    files = {name: data / f"{name}.jsonl" for name in ("mine", "other")}
    for name, file in files.items():
        write_jsonl(file, [{"ask": f"{name} {number}?", "gold": str(number)} for number in range(3)])
    place = {"repository": "some/where", "revision": "0" * 40, "path": "a.jsonl", "question": "ask", "answer": "gold"}
    catalog = {name: PublicSet(**place, sha256=sha256(file), problems=3) for name, file in files.items()}
    form = {"system": "Think.", "examples": [], "template_options": {}}
    settings = PublicProblems(world="public", train="mine", dev=1, benchmarks={"other": None}, **form)
    write_public_sets(settings, catalog, data, tokenizer, root / "problems")
    write_table(root / "summary/overlap.parquet", pd.DataFrame(overlaps(root / "problems", ["dev", "other"])))
    return root
