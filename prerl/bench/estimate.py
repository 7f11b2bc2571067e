"""How long a study will take here, before it begins: what its jobs took on another machine, by how fast this one is."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from prerl.errors import UserError
from prerl.files.atomic import read_json
from prerl.settings.scale import Scale

SECONDS = 1.0
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM")}
RECORD = Path("results/baselines/bench")  # <scale>/where.json, by `prerl bench --where`


def pace() -> float:
    """Rounds a second of `rounds` here, on one thread: in a process of its own, for numpy reads their number once."""
    command = [sys.executable, "-c", "from prerl.bench.estimate import rounds; print(rounds())"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **ONE_THREAD})
    return float(ran.stdout)


def rounds() -> float:
    """Rounds a second of processor time, measured for SECONDS, of what sampling from the miniature consists of: small
    products of matrices with Python between them."""
    generator = np.random.default_rng(0)
    rows, weights = (generator.normal(size=size).astype(np.float32) for size in ((64, 128), (128, 128)))
    done, start = 0, time.process_time()
    while time.process_time() - start < SECONDS:
        for _ in range(50):
            rows = np.tanh(rows @ weights)
        done += 1
    return done / (time.process_time() - start)


def seconds_here(scale: str, record: Path = RECORD) -> dict[str, float] | None:
    """Seconds that a job of each rule will take here; None where it is not recorded what jobs of the scale take."""
    file = record / scale / "where.json"
    if not file.is_file():
        return None
    known: dict[str, Any] = read_json(file)
    slower = known["pace"] / pace()
    return {rule: seconds * slower for rule, seconds in known["seconds"].items()}


def in_all(each: dict[str, float], jobs: dict[str, int], cores: int) -> float:
    """Seconds that so many jobs by rule take, as many at once as there are cores. Rules of which nothing is recorded
    count nothing: they are short."""
    return sum(each.get(rule, 0.0) * count for rule, count in jobs.items()) / min(cores, os.cpu_count() or 1)


def jobs_of(scale: Scale) -> dict[str, int]:
    """How many jobs of each rule the main study of a scale has, in the order in which they come."""
    runs, bases = len(scale.methods) * len(scale.seeds), len(scale.base_seeds)
    aligned = len({*scale.methods} & {*scale.analysis.alignment_methods}) * len(scale.seeds)
    once = dict.fromkeys(["summary", "claims", "tables", "figures", "paper", "page"], 1)
    trained = {"train": runs, "evaluate": runs + bases, "align_base": bases, "align_run": aligned}
    return {"base": bases, "prime": bases if scale.prime else 0, "problems": 1} | trained | once


def plan_here(path: Path, scale: Scale, cores: int, record: Path = RECORD) -> str:
    """What the main study of a scale on the CPU will take on so many cores here, by rule and in all, as text. Raises
    UserError if it is not recorded what its jobs take."""
    jobs, file = jobs_of(scale), record / path.stem / "where.json"
    each = seconds_here(path.stem, record)
    if each is None:
        raise UserError(
            f"{path}: plan: it states no assumptions, and what its jobs take was not measured: {file} is not there; "
            f"`prerl bench --where --results results/{path.stem}` makes it after the study"
        )
    timed = {rule: count for rule, count in jobs.items() if count and rule in each}
    rows = [f"{rule:12}{count:6}{each[rule] / 60:16.1f}" for rule, count in timed.items()]
    hours = in_all(each, jobs, cores) / 3600
    return "\n".join(
        [
            f"{path.stem}: {scale.description}",
            f"{'job':12}{'jobs':>6}{'minutes a job':>16}",
            *rows,
            f"about {hours:.1f} hours here on {cores} cores, by what the jobs took on another machine ({file})",
            "and a second's measurement of this one",
        ]
    )
