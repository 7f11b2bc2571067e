"""The rules as Snakemake and a cluster see them: what they say, ask for and depend on."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec

import pytest
import yaml

from tests.dag import planned, requests, snakemake
from tests.helpers import ROOT

TARGETS = ("all", "ablations", "base_study", "bench", "baselines")
needs_slurm = pytest.mark.skipif(
    not find_spec("snakemake_executor_plugin_slurm"), reason="no snakemake-executor-plugin-slurm"
)


def test_snakemake_lint_is_clean(checkout):
    result = snakemake(checkout, "--lint")
    assert result.returncode == 0 and "Congratulations" in result.stderr + result.stdout, result.stdout + result.stderr


def test_an_older_snakemake_is_refused(checkout):
    command = (
        "import sys, snakemake.common; snakemake.common.__version__ = '9.11.0'\n"
        "from snakemake.cli import main; main(sys.argv[1:])"
    )
    arguments = [sys.executable, "-c", command, "--dry-run", "--cores", "1"]
    result = subprocess.run(arguments, cwd=checkout, capture_output=True, text=True)
    assert result.returncode and "Expecting Snakemake version 9.12 or higher" in result.stdout + result.stderr


def test_every_rule_says_what_it_does(checkout):
    listed = snakemake(checkout, "--list-rules").stdout.splitlines()
    rules = dict(re.fullmatch(r"(\w+)(?: \((.+)\))?", line).groups() for line in listed)
    assert {"fetch", "train", "tables", "ablation_page", "compare", "baselines", "bench"} <= set(rules)
    assert all(rules.values()), rules


def imported(directory):
    """The modules that Snakemake imports for the rules of a directory."""
    command = [sys.executable, "-X", "importtime", "-m", "snakemake", "--list-rules"]
    result = subprocess.run(command, cwd=directory, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return {line.split("|")[-1].strip() for line in result.stderr.splitlines() if line.startswith("import time:")}


def test_reading_the_rules_imports_nothing_heavy(checkout, tmp_path):
    """Every job on a cluster reads them anew. What Snakemake and its plugins import is theirs."""
    (tmp_path / "Snakefile").write_text('rule nothing:\n    shell:\n        "true"\n')
    ours = imported(checkout) - imported(tmp_path)
    assert {"prerl.settings.scale", "prerl.problems.sets"} <= ours
    assert not ours & {"pandas", "pyarrow", "scipy", "sympy", "matplotlib", "torch", "transformers", "lm_eval"}


def test_a_parameter_stands_in_the_command_or_is_what_the_rule_depends_on():
    found = 0
    for path in sorted((ROOT / "workflow/rules").glob("*.smk")):
        for indent, parameters, shell in re.findall(
            r"^( +)params:\n((?:\1    .*\n)+)\1shell:\n((?:\1    .*\n)+)", path.read_text(), re.MULTILINE
        ):
            names = re.findall(rf"^{indent}    (\w+)=", parameters, re.MULTILINE)
            assert names and set(names) - {"depends"} == set(re.findall(r"{params\.(\w+)", shell)), (path.name, names)
            found += 1
    assert found == 20  # of all rules that run a command


def test_every_job_that_runs_a_command_names_its_time_and_memory(checkout):
    plan = snakemake(checkout, *TARGETS, "--dry-run", "--config", "scale=smoke").stdout
    asked = re.findall(r"^rule (\w+):(?:\n .+)*?\n +resources: (.*)", plan, re.MULTILINE)
    lacking = {rule for rule, resources in asked if not {"mem_mb", "runtime"} <= set(re.findall(r"(\w+)=", resources))}
    assert lacking == {"all", "ablations", "base_study"}
    commands = {"problems", "base", "train", "evaluate", "summary", "ablation_page", "paper", "bench", "baselines"}
    assert commands <= set(dict(asked))


def test_time_and_memory_grow_with_the_attempts_up_to_threefold(checkout):
    for attempt, times in {1: 1, 2: 2, 3: 3, 6: 3}.items():
        plan = snakemake(checkout, "--dry-run", "--attempt", str(attempt), "--config", "scale=smoke").stdout
        runtime, memory = requests(plan, "runtime"), requests(plan, "mem_mb")
        assert {rule: runtime[rule] for rule in ("base", "train", "evaluate", "align_run", "paper")} == {
            "base": 240 * times,
            "train": 1440 * times,
            "evaluate": 480 * times,
            "align_run": 480 * times,
            "paper": 60 * times,
        }
        assert (memory["base"], memory["align_run"]) == (4000 * times, 8000 * times)


@pytest.fixture
def with_base(checkout, tmp_path):
    """A checkout with what stands for a base model of 100 MiB and the problem sets of a scale."""

    def make(scale):
        copy = tmp_path / "copy"
        shutil.copytree(checkout, copy, ignore=shutil.ignore_patterns(".snakemake", "results"))
        problems = [f"problems/{name}.jsonl" for name in ("dev", "countdown", "countdown-hard", "countdown-ood")]
        for name in ("base/seed0/model/model.safetensors", "base/seed0/run.json", *problems):
            path = copy / "results" / scale / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        os.truncate(copy / "results" / scale / "base/seed0/model/model.safetensors", 100 * 2**20)
        return copy

    return make


def test_memory_grows_with_the_weights(with_base):
    run = "results/smoke/grpo/seed0/run.json"
    asked = requests(snakemake(with_base("smoke"), run, "--dry-run", "--config", "scale=smoke").stdout, "mem_mb")
    assert asked == {"train": 4000 + 24 * 100}


def test_paths_in_the_environment_hold_where_snakemake_copies_it():
    parts = yaml.safe_load((ROOT / "workflow/envs/prerl.yaml").read_text())["dependencies"]
    [lines] = [part["pip"] for part in parts if isinstance(part, dict)]
    paths = dict(line.split() for line in lines)
    for directory in ("workflow/envs", ".snakemake/conda"):
        there = {option: os.path.normpath(ROOT / directory / path) for option, path in paths.items()}
        assert there == {"-c": str(ROOT / "workflow/constraints.txt"), "-e": str(ROOT)}


def test_the_benchmark_takes_the_cores_that_there_are(checkout):
    plan = snakemake(checkout, "bench", "--dry-run").stdout
    assert re.search(r"^rule bench:(?:\n .+)*?\n +threads: 2$", plan, re.MULTILINE)


ON_GPUS = {
    "many": "engine: {name: trl, device: cuda, processes: 8, launch: ../accelerate/fsdp.yaml, precision: bfloat16,"
    " gradient_checkpointing: true, vllm: {tensor_parallel: 1, memory: 0.3, max_length: 512}}\n"
    "evaluation: {sampler: {tensor_parallel: 2, memory: 0.9, max_length: 512, precision: bfloat16}}\n",
    "local": "engine: {name: local, device: cuda}\n",
}


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("many", {"train": 8, "evaluate": 2, "align_base": 0}),
        ("local", {"train": 1, "evaluate": 1, "align_base": 1}),
        ("qwen3-0.6b", {"train": 1, "evaluate": 1, "align_base": 0}),
        ("smoke", {"train": 0, "evaluate": 0, "align_base": 0}),
    ],
)
def test_jobs_on_gpus_ask_for_them(checkout, name, numbers):
    if name in ON_GPUS:
        file = checkout / f"workflow/scales/{name}.yaml"
        file.write_text(f"like: smoke\nmethods: [grpo, dsrl]\n{ON_GPUS[name]}")
    found = requests(snakemake(checkout, "--dry-run", "--config", f"scale={name}").stdout, "gpu")
    assert {stage: found[stage] for stage in numbers} == numbers


@needs_slurm
def test_the_slurm_profile_fits_the_rules(checkout):
    profile = ("--profile", "workflow/profiles/slurm", "--config", "scale=smoke")
    result = snakemake(checkout, *profile, "--dry-run", "--", "all", "ablations", "bench")
    assert result.returncode == 0, result.stderr
    named = yaml.safe_load((checkout / "workflow/profiles/slurm/config.yaml").read_text())["set-resources"]
    assert set(named) <= set(planned(result.stdout))  # Snakemake does not mind a name that is no rule's
    assert {"train": 1440, "evaluate": 480, "summary": 60}.items() <= requests(result.stdout, "runtime").items()
    assert set(requests(result.stdout, "nodes").values()) == {1}


@needs_slurm
def test_on_slurm_the_benchmark_asks_for_the_threads_that_it_uses_and_a_node_alone(with_base, tmp_path):
    for program, status in {"sbatch": 1, "sacct": 0, "squeue": 0, "scancel": 0, "sinfo": 0}.items():
        (tmp_path / program).write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/{program}.log\nexit {status}\n')
        (tmp_path / program).chmod(0o755)
    environment = os.environ | {"PATH": os.pathsep.join([str(tmp_path), os.environ["PATH"]])}
    command = [sys.executable, "-m", "snakemake", "--profile", "workflow/profiles/slurm", "--retries", "0"]
    command += ["--slurm-init-seconds-before-status-checks", "1", "bench"]
    result = subprocess.run(
        command, cwd=with_base("tiny"), env=environment, capture_output=True, text=True, timeout=300
    )
    asked = (tmp_path / "sbatch.log").read_text() if (tmp_path / "sbatch.log").exists() else result.stderr
    assert "--cpus-per-task=1 --exclusive " in asked
