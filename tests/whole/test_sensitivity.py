"""The DAG of tuning: planned, not run."""

import json
import re
import shutil

import pytest
import yaml

from prerl.base.committed import pretraining
from prerl.compare.baselines import RECORD, identity
from prerl.settings.scale import load_scale
from tests.dag import planned, snakemake
from tests.helpers import SMOKE_FILE

pytestmark = pytest.mark.slow

PHASES = "phases: [{space: post-train, samples: all, advantage: mean}]\n"


def dry_run(checkout, *arguments, scale="smoke"):
    return snakemake(checkout, *arguments, "--dry-run", "--printshellcmds", "--config", f"scale={scale}")


def test_every_candidate_is_trained_from_one_base_and_no_run_of_the_study_is(checkout):
    result = dry_run(checkout, "sensitivity")
    assert result.returncode == 0, result.stderr
    scale = load_scale(SMOKE_FILE)
    # GRPO and PPO at 3 rates, NSR-PreRL at 4, DSRL at 3 with 3 lengths each; each from two seeds.
    once = {"base": 1, "problems": 1, "sensitivity": 1}
    assert planned(result.stdout) == once | {"tune": 2 * (3 + 3 + 4 + 9), "total": 2 * 19 + 3}
    started = re.findall(r"prerl train (.+?) 2>", " ".join(result.stdout.split()))
    assert len(started) == 2 * 19 and all("--model results/smoke/base/seed100/model " in one for one in started)
    assert {re.search(r"--seed (\d+)", one)[1] for one in started} == {str(seed) for seed in scale.tuning.seeds}
    assert any(
        "--method dsrl --seed 101 --learning-rate-factor 0.333 --warm-ups 2.0" in one
        and one.endswith("--out results/smoke/sensitivity/dsrl/0.333-w2/seed101")
        for one in started
    )
    assert "--keep results/baselines/smoke/sensitivity" in result.stdout


def test_a_scale_without_tuning_says_so(checkout):
    result = snakemake(checkout, "sensitivity", "--dry-run", "--config", "scale=smollm")
    assert result.returncode and "workflow/scales/smollm.yaml has no section `tuning`" in result.stderr + result.stdout


def test_a_value_that_was_never_tried_stops_before_any_job(checkout):
    (checkout / "workflow/scales/hasty.yaml").write_text("like: smoke\ntuned: {grpo: {learning_rate_factor: 2}}\n")
    result = dry_run(checkout, scale="hasty")
    assert result.returncode and not planned(result.stdout)
    assert result.stderr.startswith("prerl: workflow/scales/hasty.yaml: tuned.grpo: 2 was never tried")


def test_the_study_trains_what_was_chosen_and_shows_what_was_committed(checkout, tmp_path):
    here = shutil.copytree(checkout, tmp_path / "checkout")
    path = here / "workflow/scales/smoke.yaml"
    trained = dry_run(here, "results/smoke/grpo/seed0/run.json").stdout
    assert "sensitivity" not in trained and "sensitivity" not in dry_run(here, "all").stdout
    path.write_text(path.read_text() + "tuned: {grpo: {learning_rate_factor: 3.0}}\n")
    kept = here / "results/baselines/smoke/sensitivity"
    kept.mkdir(parents=True)
    (kept / "sensitivity.parquet").write_text("made up")
    plan = dry_run(here, "all").stdout
    assert "--sensitivity results/baselines/smoke/sensitivity/sensitivity.parquet" in plan
    assert "results/smoke/tables/sensitivity.csv" in plan and "results/smoke/figures/sensitivity.svg" in plan
    assert not {"tune", "sensitivity"} & set(planned(plan))  # what is committed is not made anew


@pytest.fixture
def fixed(checkout, tmp_path):
    """A checkout with what a plan reads of baselines of the smoke scale, and a new method that is to be tuned."""
    here = shutil.copytree(checkout, tmp_path / "checkout")
    scale, baselines = load_scale(SMOKE_FILE), here / "results/baselines/smoke"
    for seed in [*scale.seeds, scale.tuning.base_seed]:
        (baselines / f"bases/seed{seed}").mkdir(parents=True)
        record = {"config": pretraining(scale, seed), "outputs": {}}
        (baselines / f"bases/seed{seed}/run.json").write_text(json.dumps(record))
    record = {"identity": identity(scale), "files": {}, "seeds": scale.seeds, "tuning": scale.tuning.model_dump()}
    (baselines / RECORD).write_text(json.dumps({**record, "runs": [], "tuned": {}}))
    (here / "mine.yaml").write_text("tune: true\n" + PHASES)
    return here


def compared(checkout):
    config = ("--config", "scale=smoke", "method=mine.yaml")
    return snakemake(checkout, "compare", "--dry-run", "--printshellcmds", *config)


def test_a_new_method_is_tuned_before_its_replicates_are_trained(fixed):
    result = compared(fixed)
    assert result.returncode == 0, result.stderr
    jobs = planned(result.stdout)
    assert (jobs["tune"], jobs["sensitivity"], jobs["train"], jobs["base"]) == (3 * 2, 1, 2, 3)
    flat = " ".join(result.stdout.split())
    assert "--methods mine.yaml --method mine --seed 100 --learning-rate-factor 3.0" in flat
    assert "prerl base --scale workflow/scales/smoke.yaml --seed 100 --bases results/baselines/smoke/bases" in flat
    choices = "results/smoke/compare/mine/sensitivity/summary/choices.yaml"
    assert flat.count(f"--tuned {choices} --out results/smoke/compare/mine/seed") == 2 and "--keep" not in flat
    (fixed / "mine.yaml").write_text(PHASES)
    jobs = planned(compared(fixed).stdout)
    assert jobs["train"] == 2 and not {"tune", "sensitivity"} & set(jobs)


def test_a_new_method_that_cannot_be_tuned_alike_is_refused_before_any_job(fixed):
    path = fixed / "workflow/scales/smoke.yaml"
    data = yaml.safe_load(path.read_text())
    data["tuning"]["learning_rate_factors"] = [1.0, 10.0]
    text = path.read_text()
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    assert "tuned otherwise (tuning.learning_rate_factors: [0.333, 1.0, 3.0] there, [1.0, 10.0] here)" in (
        compared(fixed).stderr
    )
    path.write_text(text)
    shutil.rmtree(fixed / "results/baselines/smoke/bases/seed100")
    assert "bases/seed100/run.json: not there: the base model of the tuning" in compared(fixed).stderr
