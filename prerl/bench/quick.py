"""How long a study will take on this machine, from a minute of what it consists of."""

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prerl.base.committed import take_base
from prerl.engines.local import Run
from prerl.errors import UserError
from prerl.evaluation.comparison import GROUP, Comparison
from prerl.evaluation.partial import Partial
from prerl.model.processor import occupy
from prerl.problems.sets import write_problem_sets
from prerl.seeds import seed_of
from prerl.settings.methods import UPDATE_METHODS, load_methods
from prerl.settings.model import CountdownProblems
from prerl.settings.scale import Scale

SECONDS = 12  # of each kind of work
START = "import prerl.engines.local, prerl.evaluation.lm"


@dataclass(frozen=True)
class Pace:
    """What this machine does with the base model, one job at a time."""

    start: float  # seconds until a job's own work begins
    update: float  # seconds an update of GRPO
    dev: float  # seconds an evaluation on dev
    response: float  # seconds a sampled response, in large batches
    gradients: float  # seconds a comparison of a rollout's gradients
    tokens: float  # tokens a second of an update, its sampling included


def quick(scale: Scale, bases: Path) -> str:
    """Works for about a minute, and says how long the scale's main study takes here. Raises UserError if the scale has
    no committed base model, which this starts from."""
    if not (bases / "seed0/run.json").is_file():
        raise UserError(f"{bases}: no base model: the quick bench is for scales that have one there")
    with tempfile.TemporaryDirectory() as directory:
        pace = measure(scale, bases, Path(directory))
    return said(scale, pace, os.cpu_count() or 1)


def measure(scale: Scale, bases: Path, work: Path) -> Pace:
    """The pace of each kind of work; needs no results."""
    occupy(scale.threads)
    take_base(scale, bases, 0, work / "base")
    assert isinstance(scale.problems, CountdownProblems)  # as in every scale that has a committed base
    write_problem_sets(scale.problems, work / "problems")
    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", START], check=True)
    start = time.monotonic() - begun
    method = load_methods(Path("workflow/methods.yaml"))["grpo"]
    run = Run(scale, method, 0, work / "base/model", work / "problems")
    rows = []
    update = _seconds(lambda step: rows.append(run.update(step, method.phases[0])))
    dev = _seconds(run.evaluate_dev)
    problems = run.world.draw(random.Random(0), 64)
    repeats = max(1, scale.evaluation.batch_size // 64)
    batch = _seconds(lambda step: run.rollout(problems, repeats, seed_of("quick", step)))
    tokens = sum(row["tokens"] for row in rows[1:]) / (len(rows) - 1)
    compared = Comparison(scale, work / "base/model", work / "problems", 8, "quick")
    begun = time.monotonic()
    compared.run(Partial(work / "partial", {}), noise=True)
    gradients = (time.monotonic() - begun) / (8 * GROUP)
    return Pace(start, update, dev, batch / (64 * repeats), gradients, tokens / update)


def _seconds(work: Callable[[int], object]) -> float:
    """Of one piece of work, the first left out, by as many as SECONDS allow."""
    work(1)
    begun, done = time.monotonic(), 0
    while done < 2 or time.monotonic() - begun < SECONDS:
        done += 1
        work(done + 1)
    return (time.monotonic() - begun) / done


def study_seconds(scale: Scale, pace: Pace) -> dict[str, float]:
    """Seconds of one core by kind of job: a study's trainings, evaluations and gradients. Methods that learn from all
    samples take what GRPO takes, others less; what makes responses longer takes more."""
    runs = len(scale.methods) * len(scale.seeds)
    rl, analysis = scale.rl, scale.analysis
    training = pace.start + rl.steps * pace.update + (rl.steps // rl.checkpoint_every + 1) * pace.dev
    sizes: Any = scale.problems.benchmarks  # of Countdown numbers, see `measure`
    responses = sum(sizes[name] * repeats for name, repeats in scale.evaluation.benchmarks.items())
    runs_aligned = len(analysis.alignment_methods) * len(scale.seeds)
    rollouts = analysis.alignment_rollouts * (1 + len(analysis.alignment_methods) * len(analysis.alignment_steps))
    updates = analysis.alignment_batches * (len(UPDATE_METHODS) + 1)
    return {
        "training": runs * training,
        "evaluation": (runs + 1) * (pace.start + responses * pace.response),
        "gradients": (runs_aligned + 1) * pace.start + rollouts * pace.gradients + updates * pace.update,
    }


def said(scale: Scale, pace: Pace, cores: int) -> str:
    """The verdict in words."""
    parts = study_seconds(scale, pace)
    jobs = max(1, cores // scale.threads)
    minutes = sum(parts.values()) / jobs / 60
    shares = ", ".join(f"{name} {seconds / sum(parts.values()):.0%}" for name, seconds in parts.items())
    return (
        f"This machine makes {pace.tokens:,.0f} tokens a second in an RL update (sampling and learning), and samples "
        f"{1 / pace.response:,.0f} responses a second, one job at a time; a job starts in {pace.start:.1f} s. With "
        f"{jobs} job{'s' * (jobs > 1)} at once the main study takes about {minutes:.0f} minutes ({shares}), if nothing "
        "else runs beside it."
    )
