"""The Countdown corpus: worked solutions that the base model is pretrained on.

A document tries a way, says whether it hit, and ends with an answer. Like human text it errs (wishful sums, slips,
giving up), and it rarely checks itself or switches to another way. Those rare habits are what RL can amplify; their
words are counted in `prerl.analysis.behaviour`.

    Q get 14 with 7 4 3 A 7 - 4 = 3 , 3 * 3 = 9 no . but try 4 + 3 = 7 , 7 + 7 = 14 yes . answer ( 4 + 3 ) + 7

A world's documents may first restate their problem, `get 14 with 7 4 3 :`, or its target, `14 :`. So much of x stands
then in y, and log P(y) tells that much of log P(y|x).
"""

import random
from dataclasses import dataclass
from typing import Literal

from prerl.problems.countdown import LARGEST_VALUE, Problem, Way, draw, solutions, ways

Restates = Literal["all", "target", "nothing"]  # what a response tells of its problem

SPECIAL_TOKENS = ("<pad>", "<bos>", "<eos>")
PUNCTUATION = tuple(":.,=+-*()")
WORDS = ("Q", "A", "get", "with", "yes", "no", "answer", "but", "alternatively", "try", "wait", "let", "me", "check")
VOCABULARY = SPECIAL_TOKENS + PUNCTUATION + WORDS + tuple(str(value) for value in range(LARGEST_VALUE + 1))


@dataclass(frozen=True)
class Habits:
    """Probabilities that shape a worked solution. Patient writers are rare and keep trying; others mostly give up."""

    four_numbers: float = 0.10  # the problem has four numbers; RL trains on three alone
    right_way: float = 0.70  # an attempt is a way that hits the target
    wishful: float = 0.35  # a miss is written down as a hit
    slip: float = 0.02  # a miss carries an arithmetic slip in its second step
    try_again: float = 0.20  # after a miss, another attempt
    check_hit: float = 0.03  # after a hit, a check
    check_wishful: float = 0.10  # after a wishful hit, a check (which finds it wrong)
    patient: float = 0.03  # the writer is patient
    patient_try_again: float = 0.90
    patient_wishful: float = 0.105
    patient_check: float = 0.60
    without_prompt: float = 0.30  # the document has no prompt: the base knows P(y) as well as P(y|x)
    attempts: int = 8  # at most


def worked_solution(rng: random.Random, problem: Problem, habits: Habits, restates: Restates) -> str:
    """One worked solution (the response part of a document, without special tokens)."""
    known = ways(tuple(sorted(problem.numbers)))
    hits = solutions(problem)
    misses = [way for way in known if way.value != problem.target]
    patient = rng.random() < habits.patient
    text = {"all": [f"{problem.question} :"], "target": [f"{problem.target} :"], "nothing": []}[restates]
    for attempt in range(habits.attempts):
        hit = not misses or rng.random() < habits.right_way
        way = rng.choice(hits if hit else misses)
        if not hit:
            misses.remove(way)
        wishful = not hit and rng.random() < (habits.patient_wishful if patient else habits.wishful)
        text.append(_attempt(rng, way, problem.target, wishful, not hit and rng.random() < habits.slip))
        if hit or wishful:
            check = habits.patient_check if patient else habits.check_hit if hit else habits.check_wishful
            checked = rng.random() < check
            if checked:
                text.append(f"wait , let me check : {way.steps[-1]} {'yes' if hit else 'no'} .")
            if hit or not checked:
                break
        again = habits.patient_try_again if patient else habits.try_again
        if attempt == habits.attempts - 1 or rng.random() > again:
            break  # gives up: the answer is known to be wrong
        text.append(rng.choice(["but try", "alternatively , try"]))
    return " ".join([*text, "answer", way.expression])


def _attempt(rng: random.Random, way: Way, target: int, wishful: bool, slip: bool) -> str:
    """The steps of an attempt and its verdict; a wishful one claims the target, a slip writes a near value."""
    value = way.value
    if wishful:
        value = target
    elif slip:
        value = min(LARGEST_VALUE, max(0, value + rng.choice([-2, -1, 1, 2, 10])))
        value = way.value if value == target else value
    *before, last = way.steps
    shown = f"{last.rpartition('=')[0]}= {value}"
    return f"{' , '.join([*before, shown])} {'yes' if value == target else 'no'} ."


def document(rng: random.Random, largest_number: int, habits: Habits, restates: Restates) -> str:
    """One training document of the train split: prompt (most of the time), worked solution and end token."""
    count = 4 if rng.random() < habits.four_numbers else 3
    problem = draw(rng, count, largest_number, "train")
    response = f"{worked_solution(rng, problem, habits, restates)} <eos>"
    return response if rng.random() < habits.without_prompt else f"{problem.prompt} {response}"


def header(ids: list[int], colon: int, equals: int) -> int:
    """The number of tokens with which a response restates its problem, up to a colon before its first sum; 0 if it does
    not: a check has a colon, too, but of a sum."""
    first = ids.index(equals) if equals in ids else len(ids)
    return ids.index(colon, 0, first) + 1 if colon in ids[:first] else 0
