"""The DAG of a comparison with fixed baselines: planned, not run."""

import re
import shutil

import pytest

from prerl.compare import versus
from prerl.settings.scale import load_scale
from tests.dag import planned, snakemake
from tests.helpers import ROOT

pytestmark = pytest.mark.slow

EXAMPLE = "tests/examples/rare_positives.yaml"


@pytest.fixture(scope="module")
def with_baselines(tmp_path_factory):
    """A checkout with the committed baselines and an example of a method, and nothing else under results/."""
    copy = tmp_path_factory.mktemp("baselines")
    for name in ("workflow", "paper", "results/baselines/tiny", "tests/examples"):
        shutil.copytree(ROOT / name, copy / name)
    shutil.copy(ROOT / "Snakefile", copy)
    return copy


def test_a_comparison_trains_the_new_method_alone(with_baselines):
    """The committed baselines fit the scale and the code as they are, and no base model is pretrained."""
    result = snakemake(with_baselines, "compare", "--dry-run", "--quiet", "rules", "--config", f"method={EXAMPLE}")
    assert result.returncode == 0, result.stderr
    once = dict.fromkeys(("problems", "compare"), 1)
    assert planned(result.stdout) == once | dict.fromkeys(("base", "train", "evaluate"), 5) | {"total": 17}
    plan = snakemake(with_baselines, "compare", "--dry-run", "--printshellcmds", "--config", f"method={EXAMPLE}").stdout
    assert "prerl base --scale workflow/scales/tiny.yaml --seed 4 --bases results/baselines/tiny/bases" in plan
    assert f"--methods {EXAMPLE} --method rare-positives --seed 4" in plan
    printed = re.search(r"rule compare:\n +input: .+\n +output: (.+)", plan)[1]
    assert set(re.findall(r"tables/(\w+)\.csv", printed)) == set(versus.TABLES)
    assert set(re.findall(r"figures/(\w+)\.svg", printed)) == set(versus.FIGURES)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ([], "name the new method's file: --config method=FILE.yaml"),
        (["method=none.yaml"], "none.yaml: cannot be read"),
        (["look=1"], "--config: look: it is one of comparing a method: give method=FILE.yaml too"),
        ([f"method={EXAMPLE}", "look=4"], "--config: look: Input should be '1', '2' or '3'"),
        ([f"method={EXAMPLE}", "scale=smoke"], "results/baselines/smoke: no baselines of this scale"),
    ],
)
def test_a_comparison_that_cannot_be_is_refused_before_any_job(with_baselines, config, message):
    result = snakemake(with_baselines, "compare", "--dry-run", *(["--config", *config] if config else []))
    assert result.returncode and message in result.stderr + result.stdout


def test_baselines_take_their_own_seeds(checkout):
    result = snakemake(checkout, "baselines", "--dry-run", "--quiet", "rules")
    assert result.returncode == 0, result.stderr
    scale, jobs = load_scale(ROOT / "workflow/scales/tiny.yaml"), planned(result.stdout)
    replicates = len(scale.methods + scale.further) * len(scale.seeds) + len(scale.more_seeds)
    assert jobs["train"] == replicates and jobs["baselines"] == 1
    assert jobs["base"] == len(scale.seeds) + len(scale.more_seeds) + 1  # that of the tuning


def test_a_look_takes_its_own_number_of_replicates(with_baselines):
    config = ["--config", f"method={EXAMPLE}"]
    result = snakemake(with_baselines, "compare", "--dry-run", "--printshellcmds", *config, "look=1")
    assert result.returncode == 0, result.stderr
    assert "--seed 2" in result.stdout and "--seed 3" not in result.stdout and "--look 1" in result.stdout
