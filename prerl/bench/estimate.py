"""How long a study will take here, before it begins: what its jobs took on another machine, by how fast this one is."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from prerl.files.atomic import read_json

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


def expected(scale: str, jobs: dict[str, int], cores: int, record: Path = RECORD) -> float | None:
    """Seconds that so many jobs by rule will take, as many at once as there are cores; None where it is not recorded
    what jobs of the scale take. Rules that are not in the record count nothing: they are short."""
    file = record / scale / "where.json"
    if not file.is_file():
        return None
    known: dict[str, Any] = read_json(file)
    work = sum(known["seconds"].get(rule, 0.0) * count for rule, count in jobs.items())
    return work * known["pace"] / pace() / min(cores, os.cpu_count() or 1)
