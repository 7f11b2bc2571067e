"""Where a study's time went, from what Snakemake and the runs noted."""

import base64
import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from prerl.bench import estimate
from prerl.bench.where import by_job, where
from prerl.errors import UserError
from prerl.files.atomic import write_json, write_table
from prerl.settings.scale import load_scale
from tests.helpers import ROOT

NOTES = [
    ("results/tiny/grpo/seed0/run.json", "train", 100.0, 130.0),
    ("results/tiny/grpo/seed0/log.parquet", "train", 100.0, 130.5),  # of the same job
    ("results/tiny/dsrl/seed0/run.json", "train", 140.0, 150.0),
    ("results/tiny/base/seed0/samples.parquet", "evaluate", 130.0, 150.0),
    ("results/smoke/base/seed0/samples.parquet", "evaluate", 1.0, 99.0),  # of another study
]


@pytest.fixture
def study(tmp_path):
    for name, rule, start, end in NOTES:
        encoded = base64.b64encode(name.encode()).decode()
        path = tmp_path / "metadata" / f"@{encoded[:20]}" / encoded[20:]  # as Snakemake splits long names
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(
            json.dumps(
                {"rule": rule, "shellcmd": f"{rule} {name.rpartition('/')[0]}", "starttime": start, "endtime": end}
            )
        )
    for name, wall in (("grpo", 30.0), ("dsrl", 10.0), ("base", 500.0)):  # a base is no training of a method
        run = tmp_path / "results/tiny" / name / "seed0"
        run.mkdir(parents=True)
        write_json(run / "run.json", {"wall_seconds": wall})
        write_table(run / "log.parquet", pd.DataFrame({"generate_seconds": [1.0, 2.0], "update_seconds": [3.0, 4.0]}))
    return tmp_path


def test_a_job_counts_once_and_other_studies_do_not(study, monkeypatch):
    monkeypatch.chdir(study)
    rows = by_job(Path("results/tiny"), study / "metadata").set_index("what")
    assert rows.jobs.to_dict() == {"train": 2, "evaluate": 1}
    assert rows.seconds.to_dict() == {"train": pytest.approx(40.5), "evaluate": 20.0}
    text = where(Path("results/tiny"), study / "metadata", study / "out")
    assert (study / "out/where.md").read_text() == text
    record = json.loads((study / "out/where.json").read_text())
    assert record["seconds"] == {"train": 20.25, "evaluate": 20.0} and record["pace"] > 0
    assert "| train" in text and "| 67%" in text and "| 33%" in text
    assert "| updates" in text and "| 35%" in text  # 14 of 40 seconds
    with pytest.raises(UserError, match="nothing of results/none"):
        where(Path("results/none"), study / "metadata", study / "out")


def test_another_machine_is_told_how_long_by_its_own_pace(tmp_path, monkeypatch):
    (tmp_path / "tiny").mkdir()
    record = {"pace": 50.0, "seconds": {"train": 40.0, "evaluate": 8.0}}
    (tmp_path / "tiny/where.json").write_text(json.dumps(record))
    monkeypatch.setattr(estimate, "pace", lambda: 25.0)  # half as fast
    monkeypatch.setattr(estimate.os, "cpu_count", lambda: 2)
    jobs = {"train": 10, "evaluate": 5, "page": 1}
    each = estimate.seconds_here("tiny", tmp_path)
    assert each == {"train": 80.0, "evaluate": 16.0}
    assert estimate.in_all(each, jobs, 1) == 880.0
    assert estimate.in_all(each, jobs, 8) == 440.0  # two processors, however many jobs
    assert estimate.seconds_here("other", tmp_path) is None


def test_the_pace_is_that_of_one_thread(monkeypatch):
    """Two threads on small matrices wait for each other: their pace was a seventh."""
    run, given = estimate.subprocess.run, []
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr(
        estimate.subprocess, "run", lambda *args, **kinds: given.append(kinds["env"]) or run(*args, **kinds)
    )
    assert estimate.pace() > 0
    assert {given[0][f"{library}_NUM_THREADS"] for library in ("OMP", "OPENBLAS", "MKL")} == {"1"}


def test_a_scale_on_the_cpu_has_a_plan_by_what_its_jobs_took(tmp_path, monkeypatch):
    path = ROOT / "workflow/scales/smoke.yaml"
    scale = load_scale(path)
    with pytest.raises(UserError, match=r"smoke\.yaml: plan: .* bench --where --results results/smoke"):
        estimate.plan_here(path, scale, 2, tmp_path)
    (tmp_path / "smoke").mkdir()
    write_json(tmp_path / "smoke/where.json", {"pace": 50.0, "seconds": {"train": 3600.0, "unknown": 1.0}})
    monkeypatch.setattr(estimate, "pace", lambda: 25.0)
    monkeypatch.setattr(estimate.os, "cpu_count", lambda: 2)
    runs = len(scale.methods) * len(scale.seeds)
    text = estimate.plan_here(path, scale, 2, tmp_path)
    assert f"\ntrain       {runs:6}           120.0\nabout {2 * runs / 2:.1f} hours here on 2 cores" in text


def test_the_jobs_of_a_plan_are_those_of_the_workflow():
    command = [sys.executable, "-m", "snakemake", "-n", "--quiet", "rules", "--nolock", "--forceall", "--config"]
    ran = subprocess.run([*command, "scale=smoke"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = dict(re.findall(r"^(\w+) +(\d+)$", ran.stdout, re.MULTILINE))
    jobs = estimate.jobs_of(load_scale(ROOT / "workflow/scales/smoke.yaml"))
    assert {rule: str(count) for rule, count in jobs.items() if count} == {
        rule: count for rule, count in listed.items() if rule not in ("all", "total")
    }
