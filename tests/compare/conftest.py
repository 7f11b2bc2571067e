"""The baselines of the made-up study, and new methods beside them."""

import shutil

import pandas as pd
import pytest

from prerl.analysis.behaviour import load_lexicon
from prerl.compare.baselines import Baselines, write_baselines
from prerl.compare.versus import compare
from prerl.settings.scale import load_scale
from tests.helpers import SMOKE_FILE, changed
from tests.study import ACCURACIES, LEXICON

NAMES = list(ACCURACIES)


@pytest.fixture(scope="session")
def lexicon():
    return load_lexicon(LEXICON)


@pytest.fixture(scope="session")
def smoke():
    return load_scale(SMOKE_FILE)


@pytest.fixture(scope="session")
def fixed(printed, methods, lexicon, smoke, tmp_path_factory):
    """The baselines of the made-up study."""
    out = tmp_path_factory.mktemp("baselines") / "made-up"
    write_baselines(smoke, {name: methods[name] for name in NAMES}, lexicon, printed, out)
    return out


@pytest.fixture(scope="session")
def runs(printed, tmp_path_factory):
    """Results with two new methods: `copied`, with GRPO's very responses, and `perfect`, which is always right."""
    results = tmp_path_factory.mktemp("new") / "compare"
    shutil.copytree(printed / "problems", results / "problems")
    shutil.copytree(
        printed / "base/model", results / "base/model"
    )  # it is not evaluated, and no gradients are compared
    shutil.copy(printed / "base/run.json", results / "base")
    for name in ("copied", "perfect"):
        shutil.copytree(printed / "grpo", results / name)
    for seed in (0, 1):
        path = results / f"perfect/seed{seed}/samples.parquet"
        pd.read_parquet(path).assign(score=1.0).to_parquet(path)
    return results


@pytest.fixture(scope="session")
def summaries(fixed, runs, methods, lexicon, smoke):
    """Name -> (directory of the comparison, its conclusion)."""
    found = {}
    for name in ("copied", "perfect"):
        method = changed(methods["grpo"], label=name.capitalize())
        out = runs / name / "comparison/summary"
        found[name] = out, compare(smoke, Baselines(fixed), name, method, lexicon, runs, out)
    return found
