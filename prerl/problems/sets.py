"""The problem sets of a scale: the dev set and the benchmarks, as JSON-lines files that lm-eval reads too."""

import random
from pathlib import Path

from prerl.config import CountdownProblems
from prerl.problems.countdown import Problem, doubled, draw_distinct
from prerl.records import read_jsonl, stream, write_jsonl

HARD_SOLUTIONS = 8  # at most; problems with more fall to anyone who samples often enough


def problem_sets(settings: CountdownProblems) -> dict[str, list[Problem]]:
    """All sets by name, the same on every machine.

    dev             dev split, three numbers: every choice is made here
    countdown       test split, three numbers: in domain
    countdown-hard  test split, four numbers and few solutions: four were seen in pretraining, never in RL
    countdown-ood   three numbers two of which are equal: never seen at all
    """
    largest = settings.largest_number
    makers = {
        "countdown": lambda rng, size: draw_distinct(rng, 3, largest, "test", size),
        "countdown-hard": lambda rng, size: draw_distinct(rng, 4, largest, "test", size, HARD_SOLUTIONS),
        "countdown-ood": lambda rng, size: doubled(rng, largest, size),
    }

    def rng(name: str) -> random.Random:
        return random.Random(stream("problems", name))

    dev = draw_distinct(rng("dev"), 3, largest, "dev", settings.dev)
    return {"dev": dev} | {name: makers[name](rng(name), size) for name, size in settings.benchmarks.items()}


def write_problem_sets(settings: CountdownProblems, out: Path) -> None:
    """Writes out/NAME.jsonl for every set: id, prompt, numbers, target."""
    for name, problems in problem_sets(settings).items():
        rows = [
            {"id": problem.id, "prompt": problem.prompt, "numbers": problem.numbers, "target": problem.target}
            for problem in problems
        ]
        write_jsonl(out / f"{name}.jsonl", rows)


def read_problems(path: Path) -> list[Problem]:
    return [Problem(tuple(row["numbers"]), row["target"]) for row in read_jsonl(path)]
