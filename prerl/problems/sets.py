"""The problem sets of a scale: the dev set and the benchmarks, as JSON-lines files that lm-eval reads too."""

import random
from collections import Counter
from itertools import combinations, permutations
from math import comb
from pathlib import Path
from typing import TYPE_CHECKING

from prerl.files.atomic import read_jsonl, write_jsonl
from prerl.problems.countdown import LARGEST_VALUE, Problem, doubled, draw_distinct, ways
from prerl.problems.prompts import chat_text
from prerl.problems.public import PublicSet, read_set
from prerl.seeds import seed_of
from prerl.settings.model import CountdownProblems, PublicProblems
from prerl.settings.scale import Scale

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

RL_NUMBERS = 3  # RL trains on Countdown problems of three numbers; the base has also seen four
HARD_SOLUTIONS = 8  # at most; problems with more fall to anyone who samples often enough


def check_sizes(scale: Scale, catalog: dict[str, PublicSet]) -> None:
    """Raises ValueError, which names the key, if a scale asks for more problems than there are, or trains on what it is
    tested on. Reads no problems: the sizes and checksums of public sets stand in the catalogue."""
    settings = scale.problems
    if settings.world == "public":
        check_public_sizes(settings, catalog)
    for key, size in {
        "rl.prompts_per_step": scale.rl.prompts_per_step,
        "analysis.alignment_rollouts, four to a problem": -(-scale.analysis.alignment_rollouts // 4),
    }.items():
        if settings.world == "public":
            there = catalog[settings.train].problems - settings.dev
        else:
            there = _count(RL_NUMBERS, settings.largest_number, "train", size)
        if size > there:
            raise ValueError(f"{key}: {size} problems are drawn at once, but there are {there} to train on")


def check_public_sizes(settings: PublicProblems, catalog: dict[str, PublicSet]) -> None:
    """Raises ValueError, which names the key, if a scale of public sets asks for more problems than a set has, leaves
    none to train on, or tests on the file that it trains on."""
    training = catalog[settings.train]
    if settings.dev >= training.problems:
        raise ValueError(
            f"problems.dev: {settings.dev} problems held out of the {training.problems} of {settings.train} leave none "
            "to train on"
        )
    for name, size in settings.benchmarks.items():
        if catalog[name].sha256 == training.sha256:
            raise ValueError(f"problems.benchmarks: {name!r} is the very file of the training set {settings.train!r}")
        if size is not None and size > (there := catalog[name].problems):
            raise ValueError(f"problems.benchmarks.{name}: {size} problems, but it has {there}; null takes them all")


def problem_sets(settings: CountdownProblems) -> dict[str, list[Problem]]:
    """All sets by name, the same on every machine.

    dev             dev split, three numbers: every choice is made here
    countdown       test split, three numbers: in domain
    countdown-hard  test split, four numbers and few solutions: four were seen in pretraining, never in RL
    countdown-ood   three numbers two of which are equal: never seen at all

    Raises ValueError if there are fewer than asked for.
    """
    largest = settings.largest_number
    most = {"countdown-hard": comb(largest, 4), "countdown-ood": largest * (largest - 1)}  # choices of numbers
    sizes: dict[str, int] = {"dev": settings.dev, **settings.benchmarks}
    for name, size in sizes.items():
        if size > (limit := most.get(name, comb(largest, 3)) * LARGEST_VALUE):
            raise ValueError(f"{name}: {size} problems, but numbers up to {largest} make fewer than {limit}")
    if (size := settings.benchmarks.get("countdown-ood", 0)) > (there := len(_doubled_ids(largest))):
        raise ValueError(f"countdown-ood: {size} problems, but numbers up to {largest} make {there}")
    for name, numbers, split, most_solutions in (
        ("dev", 3, "dev", None),
        ("countdown", 3, "test", None),
        ("countdown-hard", 4, "test", HARD_SOLUTIONS),
    ):
        size = sizes.get(name, 0)
        if size > (there := _count(numbers, largest, split, size, most_solutions)):
            raise ValueError(f"{name}: {size} problems, but numbers up to {largest} make {there}")
    makers = {
        "countdown": lambda rng, size: draw_distinct(rng, 3, largest, "test", size),
        "countdown-hard": lambda rng, size: draw_distinct(rng, 4, largest, "test", size, HARD_SOLUTIONS),
        "countdown-ood": lambda rng, size: doubled(rng, largest, size),
    }

    def rng(name: str) -> random.Random:
        return random.Random(seed_of("problems", name))

    dev = draw_distinct(rng("dev"), 3, largest, "dev", settings.dev)
    return {"dev": dev} | {name: makers[name](rng(name), size) for name, size in settings.benchmarks.items()}


def _count(numbers: int, largest: int, split: str, enough: int, most_solutions: int | None = None) -> int:
    """How many problems of distinct numbers a split has; counted no further than `enough`."""
    found = 0
    for chosen in combinations(range(1, largest + 1), numbers):
        if found >= enough:
            break
        for value, solutions in Counter(way.value for way in ways(chosen)).items():
            few = most_solutions is None or solutions <= most_solutions
            found += few and value > 0 and Problem(chosen, value).split == split
    return found


def _doubled_ids(largest: int) -> set[str]:
    """All problems of three numbers two of which are equal."""
    found = set()
    for a, b in permutations(range(1, largest + 1), 2):
        numbers = tuple(sorted((a, a, b)))
        found |= {Problem(numbers, way.value).id for way in ways(numbers) if way.value > 0}
    return found


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


def write_public_sets(
    settings: PublicProblems,
    catalog: dict[str, PublicSet],
    data_dir: Path,
    tokenizer: "PreTrainedTokenizerBase",
    out: Path,
) -> None:
    """Writes out/train.jsonl, dev.jsonl and NAME.jsonl for every benchmark: id, question, prompt, answer.

    The prompt is the whole text in front of a response, by the tokenizer's chat template if it has one, see
    `prompts.chat_text`. Sets are shuffled the same way on every machine, so that the first problems of a benchmark are
    no selection. Raises ValueError if a set has fewer problems than are asked for, see `check_public_sizes`.
    """
    check_public_sizes(settings, catalog)

    def shuffled(name: str) -> list[dict[str, str]]:
        rows = read_set(name, catalog[name], data_dir)
        random.Random(seed_of("problems", name)).shuffle(rows)
        return [{**row, "prompt": prompt(row["question"])} for row in rows]

    shown = [{"role": "system", "content": settings.system}]
    for example in settings.examples:
        shown += [
            {"role": "user", "content": example.question},
            {"role": "assistant", "content": example.response},
        ]

    def prompt(question: str) -> str:
        messages = [*shown, {"role": "user", "content": question}]
        return chat_text(tokenizer, messages, add_generation_prompt=True, **settings.template_options)

    training = shuffled(settings.train)
    sets = {"dev": training[: settings.dev], "train": training[settings.dev :]}
    for name, size in settings.benchmarks.items():
        sets[name] = shuffled(name)[:size]
    for name, rows in sets.items():
        write_jsonl(out / f"{name}.jsonl", rows)
