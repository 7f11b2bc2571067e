"""Word problems of our own: what is asked, what is right, and which are trained on."""

import random
import re

import pytest

from prerl.problems.arithmetic import CHANGE, OTHER, SMALLEST, count, draw, draw_distinct, sums, values

KINDS = [("change", 1), ("change", 2), ("change", 3), ("other", 1)]


@pytest.mark.parametrize(("kind", "steps"), KINDS)
def test_a_problem_says_its_numbers_in_order_and_its_answer_is_what_they_make(kind, steps):
    rng = random.Random(0)
    for _ in range(300):
        problem = draw(rng, kind, steps, 20, "test")
        assert tuple(map(int, re.findall(r"\d+", problem.question))) == problem.numbers
        assert "{" not in problem.question and problem.question.endswith("?")
        reckoned = problem.id
        for sign in "+-*":  # from left to right, whatever binds more tightly: with products there is one step
            reckoned = reckoned.replace(sign, f" {sign} ")
        assert eval(reckoned) == problem.answer >= 0 and problem.split == "test"
        assert len(problem.operations) == steps and min(problem.numbers) >= SMALLEST


@pytest.mark.parametrize(("kind", "steps"), KINDS[:2] + KINDS[3:])
def test_all_that_can_be_asked_is_drawn_and_counted(kind, steps):
    size = count(kind, steps, 6, "dev", 10**6)
    found = {problem.id for problem in draw_distinct(random.Random(1), kind, steps, 6, "dev", size)}
    every = {numbers for numbers, _ in sums(kind, steps, 6)}
    assert len(found) == size and min(map(min, every)) == SMALLEST and max(map(max, every)) == 6
    assert all(min(values(*one)) >= 0 for one in sums(kind, steps, 6))
    with pytest.raises(ValueError, match=f"make {size} problems of {steps} steps in the dev split"):
        draw_distinct(random.Random(1), kind, steps, 6, "dev", size + 1)


def test_a_rewording_is_the_same_problem_in_the_same_split():
    rng = random.Random(2)
    told = [draw(rng, "change", 1, 4, "train") for _ in range(200)]
    by_id = {problem.id: {one.question for one in told if one.id == problem.id} for problem in told}
    assert max(map(len, by_id.values())) > 3 and all(problem.split == "train" for problem in told)


def test_every_story_can_tell_what_its_kind_reckons():
    assert all(set(story.steps) == set("+-") for story in CHANGE)
    assert all(set(story.steps) == {sign} for sign, stories in OTHER.items() for story in stories)
