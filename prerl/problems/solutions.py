r"""Worked solutions of word problems, for a short supervised stage before RL. A share of them look back, as priming
does (arXiv 2503.01307): they check the result, or try another way. All are right.

    7 + 12 = 19. 19 - 4 = 15.

    Wait, let me check this. 15 + 4 = 19 and 19 - 12 = 7, which is what it began with.

    The answer is \boxed{15}.

A thought is a paragraph, as the lexicon of English responses has it.
"""

import random

from prerl.problems.arithmetic import Problem, values

CHECKS = ("Wait, let me check this.", "Let me check that this is right.", "Let me verify this.")
WAYS = ("Alternatively,", "Another way to see it:")
INVERSE = {"+": "-", "-": "+"}


def solution(rng: random.Random, problem: Problem, reflects: float) -> str:
    r"""A response to the problem: its steps, in a share `reflects` of all a second paragraph that looks back, and the
    answer in a box."""
    paragraphs = [" ".join(f"{step}." for step in steps(problem.numbers, problem.operations))]
    if rng.random() < reflects:
        paragraphs.append(check(rng, problem) if rng.random() < 0.5 else other_way(rng, problem))
    return "\n\n".join([*paragraphs, rf"The answer is \boxed{{{problem.answer}}}."])


def steps(numbers: tuple[int, ...], operations: str) -> list[str]:
    """`7 + 12 = 19` and so on, from left to right."""
    found = values(numbers, operations)
    return [
        f"{before} {sign} {number} = {after}"
        for before, sign, number, after in zip(found[:-1], operations, numbers[1:], found[1:], strict=True)
    ]


def check(rng: random.Random, problem: Problem) -> str:
    """A paragraph that goes back from the result to the first number."""
    found = values(problem.numbers, problem.operations)
    back = [
        f"{after} {INVERSE[sign]} {number} = {before}"
        for before, sign, number, after in zip(
            found[:-1], problem.operations, problem.numbers[1:], found[1:], strict=True
        )
    ]
    return f"{rng.choice(CHECKS)} {' and '.join(reversed(back))}, which is what it began with."


def other_way(rng: random.Random, problem: Problem) -> str:
    """A paragraph that reckons in another order: first all that is added, then all that is taken away; or, of two
    numbers, from the second one."""
    first, *rest = problem.numbers
    signed = list(zip(problem.operations, rest, strict=True))
    opening = rng.choice(WAYS)
    if len(signed) == 1:
        ((sign, number),) = signed
        turned = f"{number} + {first} = {problem.answer}" if sign == "+" else f"{number} + {problem.answer} = {first}"
        return f"{opening} {turned}, so it is {problem.answer} again."
    more, less = (sum(number for sign, number in signed if sign == kind) for kind in "+-")
    parts = [f"{first} + {more} = {first + more}"] if more else []
    parts += [f"{first + more} - {less} = {problem.answer}"] if less else []
    return f"{opening} all together {' and '.join(parts)}, so it is {problem.answer} again."
