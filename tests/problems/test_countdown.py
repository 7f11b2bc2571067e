import random
import re
from itertools import combinations, permutations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prerl.problems.corpus import VOCABULARY, Habits, document, header, worked_solution
from prerl.problems.countdown import (
    Problem,
    answer,
    draw,
    draw_distinct,
    is_correct,
    solutions,
    ways,
)
from prerl.problems.sets import HARD_SOLUTIONS, OOD_NUMBERS, problem_sets, read_problems, write_problem_sets
from prerl.problems.splits import SPLITS
from prerl.settings.scale import load_scale
from tests.helpers import ROOT

PROBLEM = Problem((7, 4, 3), 14)


def reachable(numbers):
    """All values that any parenthesisation of any order of three numbers gives, with inner values in 0..99."""
    found = set()
    for a, b, c in permutations(numbers):
        for one, two in product("+-*", repeat=2):
            inner = eval(f"{a}{one}{b}")
            if 0 <= inner <= 99:
                found |= {v for v in (eval(f"{inner}{two}{c}"), eval(f"{c}{two}{inner}")) if 0 <= v <= 99}
    return found


@pytest.mark.parametrize("numbers", [(1, 2, 3), (3, 4, 7), (2, 5, 12), (10, 11, 12), (6, 6, 7)])
def test_ways_reach_what_brute_force_reaches(numbers):
    assert {way.value for way in ways(numbers)} == reachable(numbers)


@pytest.mark.parametrize("numbers", [(3, 4, 7), (2, 5, 8, 11)])
def test_ways_are_distinct_and_right(numbers):
    found = ways(numbers)
    assert len({way.steps for way in found}) == len(found)
    for way in found:
        assert eval(way.expression) == way.value
        assert sorted(map(int, re.findall(r"\d+", way.expression))) == list(numbers)
        for step in way.steps:
            left, right = step.split("=")
            assert eval(left) == int(right) and 0 <= int(right) <= 99


def test_identity_and_split_do_not_depend_on_the_order_shown():
    for numbers in permutations(PROBLEM.numbers):
        assert Problem(numbers, 14).id == "3-4-7=14" and Problem(numbers, 14).split == PROBLEM.split


def test_the_split_is_stable_and_has_its_sizes():
    assert [Problem((1, 2, n), n).split for n in range(3, 8)] == ["train", "train", "train", "test", "train"]
    rng = random.Random(0)
    splits = [Problem(tuple(rng.sample(range(1, 13), 3)), rng.randint(1, 99)).split for _ in range(4000)]
    for name, percentiles in SPLITS.items():
        assert splits.count(name) / len(splits) == pytest.approx(len(percentiles) / 100, abs=0.03)


@pytest.mark.parametrize("answer", ["7 + 4 + 3", "( 7 + 4 ) + 3", "3 + ( 4 + 7 )", "7+4+3", "((3) + 7 + 4)"])
def test_verifier_on_equal_spellings(answer):
    assert is_correct(f"get 14 with 7 4 3 : 7 * 4 = 28 no . answer 7 * 4 - 3 answer {answer}", PROBLEM)


@pytest.mark.parametrize(
    "response",
    [
        "",
        "answer",
        "answer 14",
        "answer 7 + 7",
        "answer 7 + 4 + 3 .",
        "answer 7 + 4 + 3 = 14",
        "answer 7 + 4 + 4",
        "answer 7 + 7 + 0",
        "answer 7 + 4 + 3 + 0",
        "answer 7 + 4 + 3 answer 7 * 4 - 3",
        "answer 7 + 4 + 03",
        "answer 7 + + 4 + 3",
        "answer - - 7 + 4 + 3",
        "answer 7 ( 4 ) ( 3 )",
        "answer 7 ** 4 ** 3 ** 9 ** 9 ** 9",
        "answer " + "9 ** " * 50 + "9",
        "answer " + "(" * 100_000,
        "answer " + "(" * 39 + ")" * 39,
        "answer __import__('os')",
        "answer ７ + 4 + 3",
        "answer 7 + 4 + 3\x00",
        "answer 7 + 4\n+ 3",
        "answer" * 100_000,
    ],
    ids=lambda text: text[:40],
)
def test_verifier_on_wrong_and_hostile_responses(response):
    assert is_correct(response, PROBLEM) is False


def test_drawn_problems_keep_to_their_split_and_shape():
    rng = random.Random(1)
    for count in (3, 4):
        for problem in (draw(rng, count, 9, "dev") for _ in range(50)):
            assert problem.split == "dev" and len(set(problem.numbers)) == count
            assert min(problem.numbers) >= 1 and max(problem.numbers) <= 9 and solutions(problem)


@pytest.mark.slow
def test_too_few_problems_is_an_error():
    with pytest.raises(ValueError, match="fewer than 500"):
        draw_distinct(random.Random(0), 3, 4, "test", 500)


@pytest.mark.parametrize(
    "name, size, message",
    [
        ("countdown-ood", 10_000, r"countdown-ood: 10000 problems, but numbers up to 6 make fewer than 1485"),
        ("countdown-ood", 1_400, r"countdown-ood: 1400 problems, but numbers up to 6 make \d+$"),
        ("countdown", 10**9, r"countdown: 1000000000 problems"),
        ("countdown-hard", 10**9, r"countdown-hard: 1000000000 problems"),
    ],
)
def test_more_problems_than_there_are_is_refused_at_once(name, size, message):
    smoke = load_scale(ROOT / "workflow/scales/smoke.yaml").problems
    with pytest.raises(ValueError, match=message):
        problem_sets(smoke.model_copy(update={"benchmarks": {name: size}}))


def test_all_problems_of_a_kind_can_be_asked_for():
    smoke = load_scale(ROOT / "workflow/scales/smoke.yaml").problems
    every = {Problem(numbers, way.value) for numbers in combinations(range(1, 5), OOD_NUMBERS) for way in ways(numbers)}
    tested = {problem.id for problem in every if problem.split == "test" and problem.target > 0}
    size = {"largest_number": 4, "dev": 1, "benchmarks": {"countdown-ood": len(tested)}}
    assert {problem.id for problem in problem_sets(smoke.model_copy(update=size))["countdown-ood"]} == tested


@pytest.mark.parametrize("restates", ["all", "target", "nothing"])
def test_corpus_stays_in_train_and_in_the_vocabulary(restates):
    rng, habits = random.Random(0), Habits()
    documents = [document(rng, 12, habits, restates) for _ in range(2000)]
    for text in documents:
        assert set(text.split()) <= set(VOCABULARY) and text.endswith("<eos>")
        if not (asked := re.search(r"get (\d+) with ([\d ]+) [A:]", text)):
            assert restates != "all" and not text.startswith("Q")
            continue
        target, numbers = asked.groups()
        problem = Problem(tuple(map(int, numbers.split())), int(target))
        assert problem.split == "train" and len(set(problem.numbers)) == len(problem.numbers)
    share = sum(not text.startswith("Q") for text in documents) / len(documents)
    assert share == pytest.approx(habits.without_prompt, abs=0.03)
    assert 0.05 < sum("but try" in text or "alternatively" in text for text in documents) / len(documents) < 0.2


def test_a_perfect_writer_is_always_right():
    rng, habits = random.Random(0), Habits(right_way=1.0)
    for _ in range(200):
        problem = draw(rng, rng.choice([3, 4]), 12, "train")
        assert is_correct(worked_solution(rng, problem, habits, "nothing"), problem)


@pytest.mark.parametrize("name", ["tiny", "smoke"])
def test_problem_sets(name):
    settings = load_scale(ROOT / f"workflow/scales/{name}.yaml").problems
    sets = problem_sets(settings)
    assert sets == problem_sets(settings)
    for key, problems in sets.items():
        assert len({problem.id for problem in problems}) == (settings.dev if key == "dev" else settings.benchmarks[key])
    assert {problem.split for problem in sets["dev"]} == {"dev"}
    assert {problem.split for key in settings.benchmarks for problem in sets[key]} == {"test"}
    assert all(len(p.numbers) == 3 and len(solutions(p)) <= HARD_SOLUTIONS for p in sets["countdown-hard"])
    assert all(len(problem.numbers) == OOD_NUMBERS for problem in sets["countdown-ood"])
    if name == "tiny":
        assert min(settings.benchmarks.values()) >= 100


def test_problem_files_read_back(scale, tmp_path):
    write_problem_sets(scale.problems, tmp_path)
    assert {path.stem: read_problems(path) for path in tmp_path.iterdir()} == problem_sets(scale.problems)


def test_answers_are_equal_up_to_the_order_of_summands_and_factors():
    assert answer("yes . answer ( 4 + 3 ) + 7") == answer("answer 7 + ( 3 + 4 )") == "((3+4)+7)"
    assert answer("answer 7 - 3") != answer("answer 3 - 7")
    assert answer("answer 4 + 3 answer 2 * ( 5 - 1 )") == "((5-1)*2)"
    for nothing in ("4 + 3", "answer", "answer 4 +", "answer 4 / 2", "answer " + "(" * 70, "answer __import__('os')"):
        assert answer(nothing) is None


@settings(deadline=None, max_examples=40, derandomize=True)
@given(st.integers(0, 10_000))
def test_responses_with_the_same_answer_have_the_same_score(seed):
    rng = random.Random(seed)
    problem = draw(rng, 3, 12, "test")
    texts = [f"answer {way.expression}" for way in ways(tuple(sorted(problem.numbers)))]
    scores = {}
    for text in texts:
        assert scores.setdefault(answer(text), is_correct(text, problem)) == is_correct(text, problem)


def test_what_a_response_tells_of_its_problem_is_a_dial():
    problem, habits = Problem((7, 4, 3), 14), Habits(right_way=1.0, patient=0.0, check_hit=1.0)
    told = {dial: worked_solution(random.Random(0), problem, habits, dial) for dial in ("all", "target", "nothing")}
    body = told["nothing"]
    assert body[0].isdigit() and told == {
        "all": f"get 14 with 7 4 3 : {body}",
        "target": f"14 : {body}",
        "nothing": body,
    }
    ids = {word: number for number, word in enumerate(VOCABULARY)}
    counts = {dial: header([ids[word] for word in text.split()], ids[":"], ids["="]) for dial, text in told.items()}
    assert ":" in body and counts == {"all": 7, "target": 2, "nothing": 0}  # a check has a colon of its own
