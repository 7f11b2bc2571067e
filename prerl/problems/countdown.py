"""The Countdown world: make a target from a few numbers with +, - and *, each number used once.

A problem is identified by its sorted numbers and its target. A stable hash of that identity puts it into the
train, dev or test split, whatever order the numbers are shown in, so no rewording of a test problem is ever trained on.
"""

import ast
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import combinations

from prerl.problems.splits import split_of

LARGEST_VALUE = 99  # every number and every intermediate value of a worked solution lies in 0..LARGEST_VALUE
OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*"}


@dataclass(frozen=True)
class Problem:
    """The numbers in the order shown, and the target."""

    numbers: tuple[int, ...]
    target: int

    @property
    def id(self) -> str:
        """The problem's identity, the same for every order of its numbers, e.g. `3-4-7=14`."""
        return f"{'-'.join(map(str, sorted(self.numbers)))}={self.target}"

    @property
    def split(self) -> str:
        return split_of(self.id)

    @property
    def question(self) -> str:
        return f"get {self.target} with {' '.join(map(str, self.numbers))}"

    @property
    def prompt(self) -> str:
        return f"Q {self.question} A"


@dataclass(frozen=True)
class Way:
    """A way to combine all numbers: its steps as they are written down, their last value, the one expression."""

    steps: tuple[str, ...]  # e.g. ("5 - 3 = 2", "10 - 2 = 8")
    value: int
    expression: str  # e.g. "10 - ( 5 - 3 )"


@cache
def ways(numbers: tuple[int, ...]) -> tuple[Way, ...]:
    """Every distinct way to combine two or more sorted numbers with all values in 0..LARGEST_VALUE.

    `a + b` and `b + a` count once (the same for `*`); the same steps in another order count apart, because what is
    written down differs.
    """
    found = _ways(tuple((number, str(number)) for number in numbers))
    return tuple({way.steps: way for way in found}.values())


def _ways(pool: tuple[tuple[int, str], ...]) -> Iterator[Way]:
    """All ways to combine a pool of values, each with the expression that made it."""
    for i, j in combinations(range(len(pool)), 2):
        rest = tuple(item for index, item in enumerate(pool) if index not in (i, j))
        for operator, (a, left), (b, right) in [
            ("+", pool[i], pool[j]),
            ("*", pool[i], pool[j]),
            ("-", pool[i], pool[j]),
            ("-", pool[j], pool[i]),
        ]:
            value = apply(a, operator, b)
            if not 0 <= value <= LARGEST_VALUE:
                continue
            step, expression = f"{a} {operator} {b} = {value}", f"{left} {operator} {right}"
            if not rest:
                yield Way((step,), value, expression)
            else:
                for way in _ways(((value, f"( {expression} )"), *rest)):
                    yield Way((step, *way.steps), way.value, way.expression)


def apply(left: int, operator: str, right: int) -> int:
    return left + right if operator == "+" else left - right if operator == "-" else left * right


def draw(rng: random.Random, count: int, largest: int, split: str) -> Problem:
    """Draws a problem of a split: distinct numbers in 1..largest, a target as likely as there are ways to it."""
    while True:
        numbers = tuple(rng.sample(range(1, largest + 1), count))
        problem = Problem(numbers, rng.choice(ways(tuple(sorted(numbers)))).value)
        if problem.target > 0 and problem.split == split:
            return problem


def solutions(problem: Problem) -> list[Way]:
    """The ways that hit the target."""
    return [way for way in ways(tuple(sorted(problem.numbers))) if way.value == problem.target]


def draw_distinct(
    rng: random.Random, count: int, largest: int, split: str, size: int, most_solutions: int | None = None
) -> list[Problem]:
    """Draws `size` problems of at most `most_solutions` solutions (None: any number), no two with the same identity.

    Raises ValueError if the split has too few.
    """
    found: dict[str, Problem] = {}
    for _ in range(1000 * size):
        problem = draw(rng, count, largest, split)
        if most_solutions is None or len(solutions(problem)) <= most_solutions:
            found.setdefault(problem.id, problem)
        if len(found) == size:
            return list(found.values())
    raise ValueError(f"the {split} split has fewer than {size} problems of {count} numbers up to {largest}")


def is_correct(response: str, problem: Problem) -> bool:
    """Whether the text after the last word `answer` is an expression in the problem's numbers, each used once, that
    equals its target. Anything else, hostile input included, is wrong; nothing is ever evaluated as code."""
    expression = _answer(response)
    if expression is None:
        return False
    value, used = _evaluate(expression)
    return value == problem.target and sorted(used) == sorted(problem.numbers)


def answer(response: str) -> str | None:
    """The expression after the last word `answer`, written so that swapping summands or factors makes no difference,
    e.g. `((3+4)+7)`; None if there is none. Responses with the same answer are right or wrong together."""
    expression = _answer(response)
    return None if expression is None else _canonical(expression)


def _answer(response: str) -> ast.expr | None:
    """The parsed expression after the last word `answer`, if it consists of integers, +, - and * alone."""
    _, found, text = response.rpartition("answer")
    if not found or not re.fullmatch(r"[0-9+\-*() ]{1,80}", text):
        return None
    try:
        expression = ast.parse(text.strip(), mode="eval").body
        _evaluate(expression)
    except (SyntaxError, ValueError):
        return None
    return expression


def _canonical(node: ast.expr) -> str:
    if not isinstance(node, ast.BinOp):
        return ast.unparse(node)  # an integer
    left, right, operator = _canonical(node.left), _canonical(node.right), OPERATORS[type(node.op)]
    if operator != "-":
        left, right = sorted((left, right))
    return f"({left}{operator}{right})"


def _evaluate(node: ast.expr) -> tuple[int, list[int]]:
    """Value of an expression of +, - and * on integers, and the integers it uses."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value, [node.value]
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        (left, left_used), (right, right_used) = _evaluate(node.left), _evaluate(node.right)
        return apply(left, OPERATORS[type(node.op)], right), left_used + right_used
    raise ValueError("not an expression of +, - and * on integers")
