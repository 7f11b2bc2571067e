"""Worked solutions: right, in the form that RL asks for, and a known share of them looks back."""

import random
import re

import pytest

from prerl.analysis.behaviour import load_lexicon, thoughts
from prerl.problems.arithmetic import draw
from prerl.problems.solutions import check, other_way, solution
from prerl.verify import is_correct
from tests.helpers import ROOT

EQUATION = re.compile(r"(\d+) ([+-]) (\d+) = (\d+)")


def true(text):
    found = EQUATION.findall(text)
    return found and all(int(a) + (1 if sign == "+" else -1) * int(b) == int(c) for a, sign, b, c in found)


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_every_solution_is_right_and_all_that_it_says_is_true(steps):
    rng = random.Random(0)
    for _ in range(300):
        problem = draw(rng, "change", steps, 20, "train")
        text = solution(rng, problem, 0.5)
        assert is_correct(text, str(problem.answer)) and true(text)
        assert true(check(rng, problem)) and true(other_way(rng, problem))


def test_the_share_that_looks_back_is_what_the_lexicon_sees():
    rng, lexicon = random.Random(1), load_lexicon(ROOT / "workflow/lexicons/natural.yaml")
    for share in (0.0, 0.1, 1.0):
        texts = [solution(rng, draw(rng, "change", 2, 20, "train"), share) for _ in range(2000)]
        kinds = [{kind for kind, _ in thoughts(text, lexicon)} - {"execution"} for text in texts]
        assert sum(map(bool, kinds)) / len(texts) == pytest.approx(share, abs=0.03)
        if share == 1:
            assert {kind for found in kinds for kind in found} == {"reflection", "transition"}
