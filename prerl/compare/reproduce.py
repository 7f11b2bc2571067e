"""Whether this machine reproduces a baseline or an entry: one run again, from the baselines' own base model."""

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from prerl.analysis.counts import Counts, Runs, read_counts
from prerl.analysis.provenance import warn
from prerl.analysis.scores import BASE, averaged
from prerl.compare.baselines import Baselines, made_otherwise
from prerl.errors import UserError
from prerl.files.atomic import read_json
from prerl.metrics import Array
from prerl.settings.methods import Method
from prerl.settings.model import CountdownProblems
from prerl.settings.scale import Scale

SAME = ["reward", "response_tokens", "entropy", "grad_norm"]  # columns of the log that tell two runs apart


@dataclass(frozen=True)
class Kept:
    """What was kept of a method's runs, to be compared with one of them made again."""

    kind: str  # baseline or entry
    path: Path
    name: str
    method: Method
    tests: Runs
    updates: pd.DataFrame  # the training log of the run that is made again
    made_with: dict[str, Any]


def reproduce(scale: Scale, baselines: Baselines, method: str, seed: int, tasks: Path) -> tuple[bool, str]:
    """Trains and evaluates a baseline anew, and says whether the result is the same, or one that another seed could
    have given, see `again`. (whether, the answer in words)"""
    baselines.check_fit(scale)
    methods = baselines.methods()
    if method not in methods or seed not in baselines.seeds:
        names, seeds = ", ".join(methods), ", ".join(map(str, baselines.seeds))
        raise UserError(f"{baselines.path}: no run of {method!r} with seed {seed}; there are {names}; seeds {seeds}")
    runs, log, made = baselines.tests()[method], baselines.updates(method, seed), baselines.record["made_with"]
    return again(
        scale, baselines, Kept("baseline", baselines.path, method, methods[method], runs, log, made), seed, tasks
    )


def again(scale: Scale, baselines: Baselines, kept: Kept, seed: int, tasks: Path) -> tuple[bool, str]:
    """Trains and evaluates a run anew, from the baselines' own base model, and says whether the result is the same, or
    one that another seed could have given: within the 95 % prediction interval of the seeds that were kept. (whether,
    the answer in words) What this machine does not have in common with the one that made them is said on stderr."""
    with tempfile.TemporaryDirectory() as directory:
        log, tested, records = _run(scale, baselines, kept, seed, tasks, Path(directory))
    warn(kept.path, made_otherwise(kept.made_with, scale, None, records))
    names = list(scale.evaluation.benchmarks)
    there = {number: _mean(run, names) for number, run in kept.tests.items()}
    here = _mean(tested, names)
    parted = first_difference(kept.updates, log)
    text = (
        f"{kept.name}, seed {seed}: mean accuracy over {len(names)} benchmarks {here:.4f} here, {there[seed]:.4f} "
        "there. "
    )
    if parted is None and here == there[seed]:
        return True, text + f"Every update is the same: this machine reproduces the {kept.kind} exactly."
    low, high = prediction_interval(np.array(list(there.values())))
    text += f"The runs part at update {parted}. " if parted else "All updates are the same, the responses are not. "
    fits = low <= here <= high
    text += f"Another seed would lie in [{low:.4f}, {high:.4f}] with 95 %, by the {kept.kind}'s {len(there)} seeds: "
    return fits, text + (
        "this machine agrees within the noise of seeds."
        if fits
        else f"this machine does NOT reproduce the {kept.kind}."
    )


def _run(
    scale: Scale, baselines: Baselines, kept: Kept, seed: int, tasks: Path, out: Path
) -> tuple[pd.DataFrame, Counts, list[dict[str, Any]]]:
    """The log and the counts on all benchmarks of one run, and its records."""
    from prerl.base.committed import take_base
    from prerl.engines.local import train
    from prerl.evaluation.evaluate import evaluate
    from prerl.problems.sets import write_problem_sets

    if not isinstance(scale.problems, CountdownProblems):
        raise UserError(f"{kept.path}: only runs of Countdown are made again; compare runs at this scale by hand")
    base = out / BASE / f"seed{scale.base_of(seed)}"
    take_base(scale, baselines.path / "bases", scale.base_of(seed), base)
    write_problem_sets(scale.problems, out / "problems")
    baselines.check_inputs(out, [scale.base_of(seed)])
    train(scale, kept.name, kept.method, seed, base / "model", out / "problems", out / "run")
    evaluate(scale, out / "run/model", out / "problems", tasks, out / "run")
    records = [read_json(out / "run" / name) for name in ("run.json", "evaluate.json")]
    return pd.read_parquet(out / "run/log.parquet"), read_counts(out / "run/samples.parquet"), records


def _mean(run: Counts, benchmarks: list[str]) -> float:
    share, weights, _ = averaged({0: run}, benchmarks)
    return float((share * weights).mean())


def first_difference(old: pd.DataFrame, new: pd.DataFrame) -> int | None:
    """The first update whose row of the log differs beyond single precision, or None."""
    size = min(len(old), len(new))
    same = np.isclose(old[SAME][:size], new[SAME][:size], rtol=1e-6, atol=0, equal_nan=True).all(1)
    if not same.all():
        return int(same.argmin()) + 1
    return None if len(old) == len(new) else size + 1


def prediction_interval(values: Array, level: float = 0.95) -> tuple[float, float]:
    """Where one more value of a normal distribution lies, from a few."""
    size = len(values)
    if size < 2:
        return -math.inf, math.inf
    reach = float(special.stdtrit(size - 1, (1 + level) / 2)) * float(values.std(ddof=1)) * math.sqrt(1 + 1 / size)
    return float(values.mean()) - reach, float(values.mean()) + reach
