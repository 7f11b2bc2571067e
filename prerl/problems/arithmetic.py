"""The arithmetic world: word problems in plain English, from templates of our own, for models that were really
pretrained.

    Tom has 7 apples. Tom gets 12 more. Tom gives away 4. How many apples does Tom have now?

A problem is identified by what is reckoned, `7+12-4`, whatever it is told about. A stable hash of that puts it into the
train, dev or test split, so no rewording of a test problem is ever trained on.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from prerl.problems.splits import split_of

NAMES = ("Tom", "Mia", "Sam", "Ann", "Ben", "Eva", "Max", "Lea")
THINGS = ("apples", "pens", "coins", "books", "cards", "shells", "stamps", "marbles")
SMALLEST = 2  # for what is counted stands in the plural
OPERATIONS = {"change": "+-", "other": "+-*"}


@dataclass(frozen=True)
class Story:
    """A way to tell a problem: how it begins, what each operation is called, and what is asked. `{n}` is a number."""

    start: str
    steps: dict[str, tuple[str, ...]]
    question: str


# Numbers that change: the stories of training.
CHANGE = (
    Story(
        "{name} has {n} {things}.",
        {
            "+": ("{name} gets {n} more.", "{name} finds {n} more.", "A friend gives {name} {n} more."),
            "-": ("{name} gives away {n}.", "{name} loses {n}.", "{name} sells {n}."),
        },
        "How many {things} does {name} have now?",
    ),
    Story(
        "There are {n} {things} in a box.",
        {"+": ("{name} puts in {n} more.",), "-": ("{name} takes out {n}.",)},
        "How many {things} are in the box now?",
    ),
    Story(
        "A bus starts with {n} people.",
        {"+": ("At a stop {n} people get on.",), "-": ("At a stop {n} people get off.",)},
        "How many people are on the bus now?",
    ),
)
# Numbers that are compared or repeated: other words and another operation, for the benchmark out of domain.
OTHER = {
    "+": (
        Story("{name} is {n} years old.", {"+": ("{other} is {n} years older.",)}, "How old is {other}?"),
        Story("A ribbon is {n} cm long.", {"+": ("A rope is {n} cm longer.",)}, "How many cm long is the rope?"),
    ),
    "-": (
        Story("{name} has {n} {things}.", {"-": ("{other} has {n} fewer.",)}, "How many {things} does {other} have?"),
        Story("A book has {n} pages.", {"-": ("{name} has read {n} of them.",)}, "How many pages are left to read?"),
    ),
    "*": (
        Story("There are {n} boxes.", {"*": ("In each box are {n} {things}.",)}, "How many {things} are there in all?"),
        Story("A ticket costs {n} dollars.", {"*": ("{name} buys {n} tickets.",)}, "How many dollars is that in all?"),
    ),
}


@dataclass(frozen=True)
class Problem:
    """What is reckoned, and how it is told."""

    numbers: tuple[int, ...]
    operations: str  # one between each two numbers, from left to right
    question: str

    @property
    def id(self) -> str:
        return identity(self.numbers, self.operations)

    @property
    def answer(self) -> int:
        return values(self.numbers, self.operations)[-1]

    @property
    def split(self) -> str:
        return split_of(self.id)


def identity(numbers: tuple[int, ...], operations: str) -> str:
    """What is reckoned, e.g. `7+12-4`."""
    return str(numbers[0]) + "".join(f"{sign}{number}" for sign, number in zip(operations, numbers[1:], strict=True))


def values(numbers: tuple[int, ...], operations: str) -> list[int]:
    """The values on the way, from left to right, the result last."""
    found = [numbers[0]]
    for sign, number in zip(operations, numbers[1:], strict=True):
        before = found[-1]
        found.append(before + number if sign == "+" else before - number if sign == "-" else before * number)
    return found


def sums(kind: str, steps: int, largest: int) -> Iterator[tuple[tuple[int, ...], str]]:
    """All that can be reckoned with so many steps and numbers in SMALLEST..largest, no value below 0 or above 10 *
    largest; of the kind `other` with one step."""
    for operations in map("".join, product(OPERATIONS[kind], repeat=steps)):
        for numbers in product(range(SMALLEST, largest + 1), repeat=steps + 1):
            found = values(numbers, operations)
            if min(found) >= 0 and max(found) <= 10 * largest:
                yield numbers, operations


def told(rng: random.Random, kind: str, numbers: tuple[int, ...], operations: str) -> Problem:
    """A problem in words: a story, a name and things drawn from the stream."""
    story = rng.choice(CHANGE if kind == "change" else OTHER[operations[0]])
    name, other = rng.sample(NAMES, 2)
    about = {"name": name, "other": other, "things": rng.choice(THINGS)}
    sentences = [story.start.format(n=numbers[0], **about)]
    for sign, number in zip(operations, numbers[1:], strict=True):
        sentences.append(rng.choice(story.steps[sign]).format(n=number, **about))
    return Problem(numbers, operations, " ".join([*sentences, story.question.format(**about)]))


def draw(rng: random.Random, kind: str, steps: int, largest: int, split: str) -> Problem:
    """Draws a problem of a split: operations and numbers alike, among what has no value below 0."""
    while True:
        operations = "".join(rng.choice(OPERATIONS[kind]) for _ in range(steps))
        numbers = tuple(rng.randint(SMALLEST, largest) for _ in range(steps + 1))
        found = values(numbers, operations)
        fits = min(found) >= 0 and max(found) <= 10 * largest
        if fits and split_of(identity(numbers, operations)) == split:
            return told(rng, kind, numbers, operations)


def count(kind: str, steps: int, largest: int, split: str, enough: int) -> int:
    """How many problems a split has; counted no further than `enough`."""
    found = 0
    for numbers, operations in sums(kind, steps, largest):
        if found >= enough:
            break
        found += split_of(identity(numbers, operations)) == split
    return found


def draw_distinct(rng: random.Random, kind: str, steps: int, largest: int, split: str, size: int) -> list[Problem]:
    """Draws `size` problems, no two with the same identity. Raises ValueError if the split has fewer."""
    if (there := count(kind, steps, largest, split, size)) < size:
        raise ValueError(f"numbers up to {largest} make {there} problems of {steps} steps in the {split} split")
    found: dict[str, Problem] = {}
    while len(found) < size:
        problem = draw(rng, kind, steps, largest, split)
        found.setdefault(problem.id, problem)
    return list(found.values())
