"""Baselines of the made-up study, and runs to be compared with them."""

import shutil

import pandas as pd
import pytest

from prerl.analysis.behaviour import load_lexicon
from prerl.compare.baselines import Baselines
from prerl.compare.entries import submit
from prerl.compare.written import write_baselines
from prerl.settings.methods import new_method
from prerl.settings.scale import load_scale
from tests.entries import GRPO, say
from tests.helpers import ROOT, SMOKE_FILE
from tests.study import ACCURACIES, LEXICON

NAMES = list(ACCURACIES)


@pytest.fixture(scope="package")
def lexicon():
    return load_lexicon(LEXICON)


@pytest.fixture(scope="package")
def smoke():
    return load_scale(SMOKE_FILE)


@pytest.fixture(scope="package")
def fixed(printed, methods, lexicon, smoke, tmp_path_factory):
    """The baselines of the made-up study."""
    out = tmp_path_factory.mktemp("baselines") / "made-up"
    write_baselines(smoke, {name: methods[name] for name in NAMES}, lexicon, printed, out)
    return out


@pytest.fixture(scope="package")
def runs(printed, tmp_path_factory):
    """Results with two new methods: `copied`, with GRPO's very responses, and `perfect`, which is always right."""
    results = tmp_path_factory.mktemp("new") / "compare"
    shutil.copytree(printed / "problems", results / "problems")
    for seed in (0, 1):  # they are not evaluated, and no gradients are compared
        shutil.copytree(printed / f"base/seed{seed}/model", results / f"base/seed{seed}/model")
        shutil.copy(printed / f"base/seed{seed}/run.json", results / f"base/seed{seed}")
    for name in ("copied", "perfect"):
        shutil.copytree(printed / "grpo", results / name)
    for seed in (0, 1):
        path = results / f"perfect/seed{seed}/samples.parquet"
        pd.read_parquet(path).assign(score=1.0).to_parquet(path)
    return results


@pytest.fixture(scope="package")
def real(scale, trained, methods, printed, lexicon, tmp_path_factory):
    """The scale of one really trained run, and baselines of it beside the run itself."""
    from prerl.engines.local import train
    from prerl.evaluation.evaluate import evaluate

    results = tmp_path_factory.mktemp("real") / "small"
    for name in ("tables", "figures"):
        shutil.copytree(printed / name, results / name)
    for name in ("claims", "claim_parts"):
        shutil.copy(printed / f"{name}.csv", results)
    shutil.copytree(trained / "problems", results / "problems")
    shutil.copytree(trained / "model", results / "base/seed0/model")
    shutil.copy(trained / "run.json", results / "base/seed0")
    small = scale.model_copy(update={"methods": ["grpo"], "seeds": [0]})
    run, tasks = results / "grpo/seed0", ROOT / "workflow/tasks"
    train(small, "grpo", methods["grpo"], 0, trained / "model", trained / "problems", run)
    for model, out in ((run / "model", run), (trained / "model", results / "base/seed0")):
        evaluate(small, model, trained / "problems", tasks, out)
    write_baselines(small, {"grpo": methods["grpo"]}, lexicon, results, results / "fixed")
    return small, results / "fixed"


@pytest.fixture(scope="package")
def compared(runs, fixed, smoke, tmp_path_factory):
    """(results, file) of a method that is always right, as if it had just been compared."""
    results = shutil.copytree(runs, tmp_path_factory.mktemp("entries") / "compare")
    file = results.parent / "perfect.yaml"
    file.write_text(GRPO.format(label="Perfect", advantage="std"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        say(results, *new_method(file, smoke, Baselines(fixed).methods()))
    return results, file


@pytest.fixture
def pack(compared, fixed, smoke, lexicon, tmp_path, monkeypatch):
    """Packs that comparison; others' files and results on demand."""
    monkeypatch.chdir(ROOT)

    def run(results=None, file=None, **options):
        results, file = results or compared[0], file or compared[1]
        return submit(smoke, Baselines(fixed), file, lexicon, results, tmp_path / "entries", **options)

    return run


@pytest.fixture
def packed(pack, tmp_path):
    pack(author="A. Author")
    return tmp_path / "entries/perfect"
