"""Word problems of our own: what is asked, what is right, and which are trained on."""

import random
import re

import pytest

from prerl.commands.start import problems
from prerl.errors import UserError
from prerl.files.atomic import read_jsonl
from prerl.problems.arithmetic import CHANGE, OTHER, SMALLEST, count, draw, draw_distinct, sums, values
from prerl.problems.sets import write_arithmetic_sets
from prerl.problems.splits import split_of
from prerl.problems.world import world
from prerl.settings.scale import load_scale
from tests.helpers import ROOT, broken
from tests.speakers import SPEAKERS, tokenizer, write_speaker

SCALE = ROOT / "workflow/scales/smollm-arithmetic.yaml"
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


@pytest.fixture(scope="module")
def settings():
    return load_scale(SCALE).problems


def test_the_sets_are_apart_and_their_prompts_the_chat_templates(settings, tmp_path):
    made = tokenizer(SPEAKERS["qwen"])
    write_arithmetic_sets(settings, made, tmp_path)
    sets = {path.stem: read_jsonl(path) for path in tmp_path.glob("*.jsonl")}
    assert {name: len(rows) for name, rows in sets.items()} == {
        "train": settings.train,
        "dev": settings.dev,
        **settings.benchmarks,
    }
    splits = {"train": "train", "dev": "dev"}
    for name, rows in sets.items():
        assert {split_of(row["id"]) for row in rows} == {splits.get(name, "test")}
        assert len({row["id"] for row in rows}) == len(rows)
        for row in rows:
            assert row["prompt"].endswith(f"user\n{row['question']}<|im_end|>\n<|im_start|>assistant\n")
            assert settings.examples[0].question in row["prompt"] and settings.system in row["prompt"]
    assert all(len(re.findall(r"[+*-]", row["id"])) == settings.steps + 1 for row in sets["arithmetic-steps"])
    source = world(settings, tmp_path)
    (problem,) = source.draw(random.Random(0), 1)
    assert source.chat and source.score(rf"It is \boxed{{{problem.answer}}}.", problem) == 1
    assert source.score(r"It is \boxed{-1}.", problem) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda _: {"largest_number": 4},
            r"train: 300 problems, but numbers up to 4 make \d+ problems of 1 steps in the train",
        ),
        (
            lambda old: {"benchmarks": {**old["benchmarks"], "arithmetic-ood": 5000}},
            r"arithmetic-ood: 5000 problems, but numbers up to 20 make \d+",
        ),
    ],
)
def test_a_dial_that_leaves_too_few_problems_is_one_line(tmp_path, change, message):
    scale = broken(tmp_path, lambda data: data["problems"].update(change(data["problems"])), SCALE)
    model = write_speaker("qwen", tmp_path / "model")
    with pytest.raises(UserError, match=message):
        problems(scale, tmp_path / "out", model)


def test_a_model_without_chat_template_is_one_line(tmp_path):
    model = write_speaker("no template", tmp_path / "model")
    with pytest.raises(UserError, match="problems: the model has no chat template, by which a question is asked"):
        problems(SCALE, tmp_path / "out", model)
