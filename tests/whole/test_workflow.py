"""The DAG itself: it is planned, not run, here; `.ci/run` runs the smoke scale through it."""

import os
import re
import shutil

import pytest

from prerl.errors import UserError
from prerl.settings.options import Options, load_options
from prerl.settings.scale import load_scale
from tests.dag import planned, snakemake
from tests.helpers import ROOT, STUDY_FIGURES, STUDY_TABLES

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", sorted(file.stem for file in (ROOT / "workflow/scales").glob("*.yaml")))
def test_the_plan_has_a_job_a_method_and_seed(checkout, name):
    result = snakemake(checkout, "--dry-run", "--quiet", "rules", "--config", f"scale={name}")
    assert result.returncode == 0, result.stderr
    scale = load_scale(ROOT / f"workflow/scales/{name}.yaml")
    runs = len(scale.methods) * len(scale.seeds)
    jobs = planned(result.stdout)
    assert jobs.pop("total") == sum(jobs.values())
    once = dict.fromkeys(("all", "problems", "summary", "claims", "tables", "figures", "paper", "page"), 1)
    bases = len(scale.base_seeds)
    aligned = len(scale.analysis.alignment_methods) * len(scale.seeds)
    begun = {"base": 1, "prime": bases} if scale.prime else {"base": bases}
    each = {**begun, "align_base": bases, "train": runs, "evaluate": runs + bases, "align_run": aligned}
    assert jobs == once | {rule: number for rule, number in each.items() if number}


def test_the_study_of_the_base_trains_nothing(checkout):
    result = snakemake(checkout, "base_study", "--dry-run", "--config", "scale=smollm", "--quiet", "rules")
    assert result.returncode == 0, result.stderr
    assert not {"train", "align_run"} & set(planned(result.stdout))


def test_what_a_benchmark_includes_is_an_input_of_the_evaluation(checkout):
    included = set(
        re.findall(r"^include: (.+)$", "".join(p.read_text() for p in (ROOT / "workflow/tasks").glob("*.yaml")), re.M)
    )
    result = snakemake(checkout, "--dry-run", "results/smoke/base/seed0/samples.parquet", "--config", "scale=smoke")
    inputs = re.search(r"rule evaluate:\n +input: (.+)", result.stdout)[1].split(", ")
    assert included and {f"workflow/tasks/{name}" for name in included} <= set(inputs)


def test_the_ablations_add_their_runs_to_what_they_share_with_the_main_study(checkout):
    result = snakemake(checkout, "ablations", "--dry-run", "--config", "scale=smoke", "--quiet", "rules")
    assert result.returncode == 0, result.stderr
    scale = load_scale(ROOT / "workflow/scales/smoke.yaml")
    jobs = planned(result.stdout)
    shared = {"grpo", "dsrl"}  # what the ablations are compared with
    assert jobs["train"] == (len(shared) + len(scale.ablations)) * len(scale.seeds)
    assert jobs["ablation_tables"] == jobs["ablation_figures"] == 1 and not {"tables", "figures"} & set(jobs)


def test_the_rules_make_every_table_and_figure(checkout):
    listed = snakemake(checkout, "all", "ablations", "sensitivity", "--dry-run", "--quiet", "rules", "--summary").stdout
    public = snakemake(checkout, "--dry-run", "--quiet", "rules", "--summary", "--config", "scale=smollm").stdout
    one_gpu = snakemake(checkout, "--dry-run", "--quiet", "rules", "--summary", "--config", "scale=qwen3-0.6b").stdout
    assert "results/smollm/tables/overlap.tex" in public and "overlap" not in listed
    assert "results/qwen3-0.6b/tables/published.tex" in one_gpu and "published" not in listed
    tables = set(STUDY_TABLES) - {"overlap", "published", "sizes"}
    for kind, names in {"figures/{}.svg": STUDY_FIGURES, "tables/{}.tex": tables}.items():
        for name in names:
            file = kind.format(name)
            assert any(f"results/tiny/{study}{file}" in listed for study in ("", "ablations/", "sensitivity/")), file


def test_claims_at_other_scales_stand_beside_once_they_are_committed(checkout):
    committed = checkout / "results/baselines/other/tables/claim_parts.csv"
    command = ("--dry-run", "--quiet", "rules", "--summary", "--config", "scale=smoke")
    assert "sizes" not in snakemake(checkout, *command).stdout
    committed.parent.mkdir(parents=True)
    committed.write_text("")
    assert "results/smoke/tables/sizes.tex" in snakemake(checkout, *command).stdout
    shutil.rmtree(checkout / "results/baselines")


def test_a_bad_configuration_stops_before_any_job(checkout):
    assert "scales/none.yaml: cannot be read" in snakemake(checkout, "-n", "--config", "scale=none").stderr
    broken = checkout / "workflow/scales/broken.yaml"
    broken.write_text((checkout / "workflow/scales/smoke.yaml").read_text().replace("grpo,", "grpoo,"))
    assert "no method 'grpoo'" in snakemake(checkout, "-n", "--config", "scale=broken").stderr


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            ["scales=smoke", "mehtod=x.yaml"],
            "prerl: --config: scales: unknown key; there are scale, method, look, bases, data_dir",
        ),
        (
            ["scale=smoke", "mehtod=x.yaml"],
            "prerl: --config: mehtod: unknown key; there are scale, method, look, bases, data_dir",
        ),
        (
            ["scale=4"],
            "prerl: workflow/scales/4.yaml: cannot be read, for it is not there; --config scale= takes one of",
        ),
        (["method="], "prerl: --config: method: expected method=VALUE, got None"),
        (["data_dir=[a]"], "prerl: --config: data_dir: expected data_dir=VALUE, got ['a']"),
    ],
)
def test_a_mistyped_option_plans_nothing(checkout, config, message):
    result = snakemake(checkout, "--dry-run", "--quiet", "rules", "--config", *config)
    lines = [line for line in result.stderr.splitlines() if line.startswith("prerl: ")]
    assert result.returncode and [line[: len(message)] for line in lines] == [message]
    assert "Traceback" not in result.stderr and not planned(result.stdout)


def test_options_are_texts_whatever_snakemake_takes_them_for(tmp_path):
    for name in ("tiny", "7", "1e3"):
        (tmp_path / f"{name}.yaml").touch()
    assert load_options({}, tmp_path) == Options()
    found = load_options({"scale": 7, "method": 3.5, "data_dir": 9}, tmp_path)
    assert found == Options(scale="7", method="3.5", data_dir="9")
    for value in (None, True, "", " ", {}, ["tiny"]):
        with pytest.raises(UserError, match="--config: scale: expected scale=VALUE, got "):
            load_options({"scale": value}, tmp_path)


def test_more_training_problems_than_there_are_are_refused_before_any_job(checkout):
    text = "like: smollm\nproblems: {dev: 7466}\n"
    (checkout / "workflow/scales/greedy.yaml").write_text(text)
    result = snakemake(checkout, "--dry-run", "--config", "scale=greedy")
    assert result.returncode and result.stderr.startswith("prerl: workflow/scales/greedy.yaml: rl.prompts_per_step: 8 ")


def test_a_failed_job_says_what_was_wrong_on_the_terminal(checkout):
    text = "like: smoke\nproblems: {benchmarks: {countdown: 200}}\n"
    (checkout / "workflow/scales/greedy.yaml").write_text(text)
    result = snakemake(checkout, "results/greedy/problems/dev.jsonl", "--config", "scale=greedy")
    assert result.returncode and re.search(r"^prerl: workflow/scales/greedy\.yaml: problems: .+$", result.stderr, re.M)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_results_that_may_not_be_written_are_said_before_any_job(checkout):
    results = checkout / "results/smoke"
    results.mkdir(parents=True)
    results.chmod(0o555)
    result = snakemake(checkout, "--config", "scale=smoke")
    results.chmod(0o755)
    assert result.returncode and "prerl: results/smoke cannot be written: nothing was started" in result.stderr


@pytest.fixture
def finished(checkout, tmp_path):
    """A checkout in which Snakemake takes all training of the smoke scale for done, and the runs."""
    copy = tmp_path / "finished"
    shutil.copytree(checkout, copy, ignore=shutil.ignore_patterns(".snakemake"))
    scale = load_scale(copy / "workflow/scales/smoke.yaml")
    runs = [f"results/smoke/{method}/seed{seed}" for method in scale.methods for seed in scale.seeds]
    names = [f"{run}/{name}" for run in runs for name in ("run.json", "log.parquet", "dev.parquet")]
    bases = [f"results/smoke/base/seed{seed}" for seed in scale.base_seeds]
    names += [f"{run}/model/model.safetensors" for run in [*runs, *bases]] + [f"{base}/run.json" for base in bases]
    names += [f"results/smoke/problems/{name}.jsonl" for name in ("dev", *scale.problems.benchmarks)]
    for name in names:
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).touch()
    done = snakemake(copy, *(f"{run}/run.json" for run in runs), "--touch", "--config", "scale=smoke")
    assert done.returncode == 0, done.stderr
    return copy


def trained(checkout):
    """The runs that a study would train, from a dry run."""
    plan = snakemake(checkout, "all", "--dry-run", "--config", "scale=smoke").stdout
    return set(re.findall(r"log: results/smoke/logs/train/(\S+)\.log", plan))


def test_a_change_of_one_method_retrains_that_method_alone_and_a_seed_adds_only_itself(finished):
    assert trained(finished) == set()
    path = finished / "workflow/methods.yaml"
    text = path.read_text()
    path.write_text(text.replace("loss_coefficient: 0.01, warm_ups: 1}", "loss_coefficient: 0.01, warm_ups: 3}", 1))
    assert trained(finished) == {"dsrl-seed0", "dsrl-seed1"}
    path.write_text(text)
    scale = finished / "workflow/scales/smoke.yaml"
    scale.write_text(scale.read_text().replace("seeds: [0, 1]", "seeds: [0, 1, 2]"))
    assert trained(finished) == {f"{name}-seed2" for name in ("grpo", "nsr-prerl", "dsrl", "ppo")}


def test_the_main_job_starts_from_it_unless_it_is_told_to_pretrain(checkout, tmp_path):
    here = shutil.copytree(checkout, tmp_path / "checkout")
    bases = "results/baselines/tiny/bases"
    shutil.copytree(ROOT / bases, here / bases)

    def plan(*config):
        return snakemake(here, "results/tiny/base/seed0/run.json", "--dry-run", "--printshellcmds", *config)

    assert f"--bases {bases}" in plan().stdout
    fresh = plan("--config", "bases=fresh").stdout
    assert "rule base:" in fresh and "--bases" not in fresh
    assert "bases: a method is compared with" in plan("--config", "bases=fresh", "method=m.yaml").stderr
    assert "--config: bases: Input should be 'committed' or 'fresh'" in plan("--config", "bases=new").stderr
    scale = here / "workflow/scales/tiny.yaml"
    scale.write_text(scale.read_text().replace("steps: 4000", "steps: 700"))
    assert "pretrained by other settings (pretrain.steps: 4000 there, 700 here)" in plan().stderr
