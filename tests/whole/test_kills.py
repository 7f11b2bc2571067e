"""A study as the DAG runs it, undisturbed, and killed again and again: in the end the bytes are the same."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress

import pandas as pd
import psutil
import pytest

from tests.helpers import ROOT
from tests.runs import TIMING

KILLS = int(os.environ.get("PRERL_KILLS", "0"))
pytestmark = pytest.mark.skipif(KILLS < 4, reason="minutes long; PRERL_KILLS=20 kills a study at 20 random moments")
STAGES = {"prerl base": 9, "prerl train": 9, "prerl evaluate": 12, "prerl figures": 4}  # longest wait, in seconds
FORCED = {"prerl figures": ("--forcerun", "figures")}  # they may be done before their turn comes
SCALE = """
like: smoke
pretrain: {steps: 600, checkpoint_every: 100, threads: 1}
rl: {steps: 6, checkpoint_every: 2}
analysis: {alignment_rollouts: 32, alignment_methods: [dsrl], alignment_steps: [2, 6], bootstrap: 50}
methods: [grpo, dsrl]
ablations: []
seeds: [0]
"""
# What holds times or tells who made it when; all else is compared byte by byte.
TIMED = {"run.json", "evaluate.json", "alignment.json", "provenance.json", "runs.parquet", "log.parquet"}
TIMED |= {"state.json", "checksums.json"}  # of checkpoints, with the log so far
TIMED |= {f"runs.{kind}" for kind in ("csv", "json", "md", "tex")} | {"index.html", "paper.pdf"}


def checkout(root):
    """A copy of what Snakemake reads, in a directory whose name is not plain, with a study of its own."""
    copy = root / "büro 研究 'x'"
    for name in ("workflow", "paper"):
        shutil.copytree(ROOT / name, copy / name)
    shutil.copy(ROOT / "Snakefile", copy)
    (copy / "workflow/scales/sturdy.yaml").write_text(SCALE)
    return copy


def command(*arguments):
    return [sys.executable, "-m", "snakemake", "--config", "scale=sturdy", "--quiet", "rules", *arguments]


def snakemake(copy, *arguments):
    result = subprocess.run(command(*arguments), cwd=copy, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]


def running(process, stage=""):
    """What a process has started, of the stage alone if one is named."""
    try:
        found = process.children(recursive=True)
        return [child for child in found if stage in " ".join(child.cmdline())]
    except psutil.NoSuchProcess:
        return []


def kill(process):
    """SIGKILL to Snakemake and all that it has started, at once."""
    for one in [*running(process), process]:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    process.wait()


def bytes_of(copy):
    files = sorted(path for path in (copy / "results/sturdy").rglob("*") if path.is_file())
    kept = [path for path in files if "logs" not in path.parts and path.name not in TIMED]
    assert not [path for path in files if path.suffix == ".partial" or path.name.startswith(".")]
    return {path.relative_to(copy).as_posix(): path.read_bytes() for path in kept}


def logs_of(copy):
    files = sorted((copy / "results/sturdy").rglob("log.parquet"))
    return [pd.read_parquet(path).drop(columns=TIMING, errors="ignore") for path in files]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The study, one job at a time, undisturbed but for a second Snakemake, which the first one's lock keeps out."""
    copy = checkout(tmp_path_factory.mktemp("whole"))
    first = psutil.Popen(command("--cores", "1"), cwd=copy, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not running(first, "prerl base") and first.is_running():
        time.sleep(0.1)
    second = subprocess.run(command("--cores", "1"), cwd=copy, capture_output=True, text=True)
    assert second.returncode and "cannot be locked" in second.stderr
    assert first.wait() == 0
    return copy


def test_a_study_killed_at_random_moments_ends_with_the_same_bytes(whole, tmp_path):
    """With two jobs at a time, where the other has one, and in another locale."""
    copy, rng = checkout(tmp_path), random.Random(0)
    env = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TZ": "Asia/Tokyo"}
    killed, again = [], ("--cores", "2", "--rerun-incomplete")
    for stage in [stage for stage in STAGES for _ in range(KILLS // len(STAGES))]:
        process = psutil.Popen(
            command(*again, *FORCED.get(stage, ())),
            cwd=copy,
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        while not (found := running(process, stage)) and process.is_running() and process.status() != "zombie":
            time.sleep(0.05)
        if found:
            time.sleep(rng.uniform(0, STAGES[stage]))
            killed.append(stage)
        kill(process)
        snakemake(copy, "--unlock", "--cores", "1")
    assert set(killed) == set(STAGES)
    print(f"killed {len(killed)} times: {Counter(killed)}")
    subprocess.run(command(*again), cwd=copy, env=env, check=True, capture_output=True)
    once, other = bytes_of(whole), bytes_of(copy)
    assert once.keys() == other.keys()
    assert [name for name in once if once[name] != other[name]] == []
    for one, other in zip(logs_of(whole), logs_of(copy), strict=True):
        pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize(
    "name", ["grpo/seed0/samples.parquet", "grpo/seed0/dev.parquet", "dsrl/seed0/model/model.safetensors"]
)
def test_a_flipped_bit_is_named_and_the_dag_makes_the_file_anew(whole, name):
    before = bytes_of(whole)
    path = whole / "results/sturdy" / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    result = subprocess.run(command("--cores", "2"), cwd=whole, capture_output=True, text=True)
    assert result.returncode
    assert re.search(
        rf"^prerl: results/sturdy/{name}: damaged \(its checksum .*{path.name}\.damaged", result.stderr, re.M
    )
    snakemake(whole, "--cores", "2")
    aside = path.with_name(f"{path.name}.damaged")
    if path.parent.name != "model":  # a directory that is made anew as a whole
        assert aside.read_bytes() == content
        aside.unlink()
    after = bytes_of(whole)
    assert after.keys() == before.keys() and [name for name in after if after[name] != before[name]] == []
    assert json.loads((whole / "results/sturdy/grpo/seed0/run.json").read_text())["outputs"]
