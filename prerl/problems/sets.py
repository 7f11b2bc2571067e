"""The problem sets of a scale: the dev set and the benchmarks, as JSON-lines files that lm-eval reads too."""

import random
from collections import Counter
from collections.abc import Callable
from itertools import combinations
from math import comb
from pathlib import Path
from typing import TYPE_CHECKING

from prerl.files.atomic import read_jsonl, write_jsonl
from prerl.problems import arithmetic
from prerl.problems.countdown import LARGEST_VALUE, Problem, draw_distinct, ways
from prerl.problems.prompts import chat_text
from prerl.problems.public import PublicSet, read_set
from prerl.seeds import seed_of
from prerl.settings.model import ArithmeticProblems, ChatProblems, CountdownProblems, PublicProblems
from prerl.settings.scale import Scale

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

RL_NUMBERS = 3  # RL trains on Countdown problems of three numbers
OOD_NUMBERS = 4  # the base has also seen four
HARD_SOLUTIONS = 2  # at most; problems with more fall to anyone who samples often enough


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
        elif settings.world == "arithmetic":
            there = settings.train
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
    countdown-hard  test split, three numbers and at most two solutions
    countdown-ood   test split, four numbers: seen in pretraining, never in RL

    Raises ValueError if there are fewer than asked for.
    """
    largest = settings.largest_number
    kinds = {  # numbers, split, most solutions
        "dev": (RL_NUMBERS, "dev", None),
        "countdown": (RL_NUMBERS, "test", None),
        "countdown-hard": (RL_NUMBERS, "test", HARD_SOLUTIONS),
        "countdown-ood": (OOD_NUMBERS, "test", None),
    }
    found = {}
    for name, size in {"dev": settings.dev, **settings.benchmarks}.items():
        numbers, split, most = kinds[name]
        if size > (limit := comb(largest, numbers) * LARGEST_VALUE):
            raise ValueError(f"{name}: {size} problems, but numbers up to {largest} make fewer than {limit}")
        if size > (there := _count(numbers, largest, split, size, most)):
            raise ValueError(f"{name}: {size} problems, but numbers up to {largest} make {there}")
        found[name] = draw_distinct(random.Random(seed_of("problems", name)), numbers, largest, split, size, most)
    return found


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


def arithmetic_sets(settings: ArithmeticProblems) -> dict[str, list[arithmetic.Problem]]:
    """All sets by name, the same on every machine.

    train, dev        of their splits, the scale's steps: trained on; every choice is made here
    arithmetic        test split, as many steps: in domain
    arithmetic-steps  test split, a step more
    arithmetic-ood    test split, other wording and another operation

    Raises ValueError if there are fewer than asked for.
    """
    kinds = {  # kind, steps, split
        "train": ("change", settings.steps, "train"),
        "dev": ("change", settings.steps, "dev"),
        "arithmetic": ("change", settings.steps, "test"),
        "arithmetic-steps": ("change", settings.steps + 1, "test"),
        "arithmetic-ood": ("other", 1, "test"),
    }
    found = {}
    for name, size in {"train": settings.train, "dev": settings.dev, **settings.benchmarks}.items():
        kind, steps, split = kinds[name]
        rng = random.Random(seed_of("problems", name))
        try:
            found[name] = arithmetic.draw_distinct(rng, kind, steps, settings.largest_number, split, size)
        except ValueError as error:
            raise ValueError(f"{name}: {size} problems, but {error}") from error
    return found


def write_arithmetic_sets(settings: ArithmeticProblems, tokenizer: "PreTrainedTokenizerBase", out: Path) -> None:
    """Writes out/NAME.jsonl for every set: id, question, prompt, answer. Raises ValueError if there are fewer
    problems than are asked for, or the tokenizer has no chat template."""
    if not tokenizer.chat_template:
        raise ValueError("the model has no chat template, by which a question is asked: choose one that has")
    prompt = asked(settings, tokenizer)
    for name, problems in arithmetic_sets(settings).items():
        rows = [
            {"id": problem.id, "question": problem.question, "prompt": prompt(problem.question)}
            | {"answer": str(problem.answer)}
            for problem in problems
        ]
        write_jsonl(out / f"{name}.jsonl", rows)


def asked(settings: ChatProblems, tokenizer: "PreTrainedTokenizerBase") -> Callable[[str], str]:
    """What makes a question the whole text in front of a response, by the tokenizer's chat template."""
    shown = [{"role": "system", "content": settings.system}]
    for example in settings.examples:
        shown += [
            {"role": "user", "content": example.question},
            {"role": "assistant", "content": example.response},
        ]

    def prompt(question: str) -> str:
        messages = [*shown, {"role": "user", "content": question}]
        return chat_text(tokenizer, messages, add_generation_prompt=True, **settings.template_options)

    return prompt


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

    prompt = asked(settings, tokenizer)

    training = shuffled(settings.train)
    sets = {"dev": training[: settings.dev], "train": training[settings.dev :]}
    for name, size in settings.benchmarks.items():
        sets[name] = shuffled(name)[:size]
    for name, rows in sets.items():
        write_jsonl(out / f"{name}.jsonl", rows)
