"""The verifier. Tests on real gold answers read copies of the public sets where they lie beside the checkout."""

import os
import random
import re
import signal
import subprocess
import sys

import pandas as pd
import pytest

from prerl import verify
from prerl.records import read_jsonl
from prerl.verify import answer, equivalent, is_correct, normal, number
from tests.helpers import ROOT

DATA = ROOT.parent / "shared/data/math"
MANGLED = {"", "2007+\\frac{\\}{p}i2"}  # gold answers of MATH train's public copy that are no answers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"so \boxed{5}", "5"),
        (r"\boxed{4}, no, \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{a \} b}", r"a \} b"),
        (r"$\boxed 7$ apples", "7"),
        (r"\fbox{x}", "x"),
        ("#### 1,234\nmore", "1,234"),
        ("#### 3 but \\boxed{4}", "4"),
        (r"\boxed{5", None),
        (r"\boxed{}", None),
        (r"\boxed", None),
        ("the answer is 5", None),
        ("", None),
        (r"\boxed{" + "1" * 301 + "}", None),
    ],
)
def test_the_last_boxed_answer(text, expected):
    assert answer(text) == expected


@pytest.mark.parametrize(
    ("found", "gold", "same"),
    [
        ("0.75", r"\frac{3}{4}", True),
        ("3/4", r"\frac34", True),
        ("10,080", "10080", True),
        (r"6{,}000{,}000", "6000000", True),
        ("18.00", r"\$18", True),
        (r"10\text{ inches}", "10", True),
        (r"90^\circ", "90", True),
        (r"\text{(B)}", "B", True),
        (r"\text{Evelyn}", "Evelyn", True),
        (r"x \in [-2,7]", "[-2,7]", True),
        (r"\sqrt{8}", r"2\sqrt{2}", True),
        (r"\frac{\sqrt2}{2}", r"\frac{1}{\sqrt{2}}", True),
        (r"(x+1)^2", "x^2+2x+1", True),
        (r"\left(3,\frac{\pi}{2}\right)", r"(3, \pi/2)", True),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", True),
        (r"\{2,1\}", r"\{1,2\}", True),
        ("x=3", "3", True),
        ("5", "-5", False),
        ("0.333", r"\frac13", False),
        ("3.14", r"\pi", False),
        ("(0,1)", "[0,1]", False),
        ("(1,2)", "(2,1)", False),
        ("(1,2)", "(1,2,3)", False),
        ("1,2", "12", False),
        ("3i", "3", False),
        (r"\text{even}", r"\text{odd}", False),
        (r"\frac{1}{0}", "5", False),
        ("5x", "5", False),
    ],
)
def test_answers_that_mean_the_same_and_that_do_not(found, gold, same):
    assert equivalent(found, gold) is same and is_correct(rf"Thus \boxed{{{found}}}.", gold) is same


def test_a_gold_answer_may_be_a_worked_solution():
    assert is_correct(r"\boxed{18}", "9 * 2 = $<<9*2=18>>18 a day.\n#### 18")
    assert is_correct("9 * 2 is 18\n#### 18", r"we get $\boxed{18}$") and not is_correct("it is 18", "18")


def test_plain_numbers_are_compared_exactly():
    assert number("-0.50") == number(r"-\frac{1}{2}") == number("-1/2") and number("1/0") is None
    assert number("1e5") is None and number("9" * 31) is None and number("") is None and number("-") is None
    assert not equivalent("0.1000000000001", "0.1") and normal(r"$ 5\,\text{ cm}^2. $") == "5"


HOSTILE = {
    "tower": "9^{9^{9^{9}}}",
    "factorials": "(((9!)!)!)!",
    "large factorial": "100000000!",
    "power": "(a+b+c+d)^{5000}",
    "integral": r"\int_0^{10} \sin(x^{x^x}) dx",
    "product": r"\prod_{n=1}^{\infty} n",
    "parentheses": "(" * 100 + "1" + ")" * 100,
    "roots": r"\sqrt{" * 50 + "2" + "}" * 50,
    "braces": "{" * 1_000_000,
    "boxes": r"\boxed{" * 200_000,
    "hashes": "####" * 500_000,
    "balanced": "{" * 100_000 + "}" * 100_000,
    "control characters": "\x00\x1b[31m\x07",
    "unicode": "\u202e²½\U0001d7d8" * 30,
    "code": "__import__('os').abort()",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_answers_are_wrong_and_the_next_question_is_answered(name):
    for response in (rf"\boxed{{{HOSTILE[name]}}}", HOSTILE[name]):
        assert not is_correct(response, r"x^2+\sqrt{2}")
    assert is_correct(r"\boxed{\sqrt{8}}", r"2\sqrt{2}")


def test_a_worker_that_dies_or_hangs_costs_one_answer_and_says_so(monkeypatch, capsys):
    worker = verify.Worker()
    assert worker.ask("x+1", "1+x") and not worker.ask("9^{9^{9^{9}}}", "x")
    assert worker.ask("x+2", "2+x")  # by a new process
    os.kill(worker.process.pid, signal.SIGKILL)
    worker.process.wait()
    assert worker.ask("x+3", "3+x")
    os.kill(worker.process.pid, signal.SIGSTOP)
    monkeypatch.setattr(verify, "WALL_SECONDS", 0.1)
    capsys.readouterr()
    assert not worker.ask("x+4", "4+x")
    assert capsys.readouterr().err == "verifier: no verdict on 'x+4' (time, memory or a crash): wrong\n"
    monkeypatch.undo()
    assert worker.ask("x+5", "5+x")
    worker.stop()


def test_a_worker_has_little_memory():
    limits = (
        "import prerl.verify, resource, sys, io; sys.stdin = io.StringIO(''); prerl.verify.serve();"
        "print(resource.getrlimit(resource.RLIMIT_AS)[0], file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", limits], capture_output=True, text=True)
    assert result.stdout == "ready\n" and int(result.stderr) == verify.MEMORY_BYTES


def golds():
    """Gold answers of the public sets by name."""
    if not DATA.is_dir():
        pytest.skip("no copies of the public problem sets beside the checkout")
    rows = {name: read_jsonl(DATA / f"{name}.jsonl") for name in ("math500", "minerva", "gsm8k_train", "gsm8k_test")}
    train = [entry["ground_truth"] for entry in pd.read_parquet(DATA / "math_train.parquet").reward_model]
    return {
        "gsm8k": [row["answer"] for part in ("train", "test") for row in rows[f"gsm8k_{part}"]],
        "math_train": train,
        "math500": [row["answer"] for row in rows["math500"]],
        "minerva": [row["solution"] for row in rows["minerva"]],
    }


def spellings(gold):
    yield gold
    yield f" {gold} ".replace("\\frac", "\\dfrac")
    yield f"${gold}$"
    bare = gold.replace("\\left", "").replace("\\right", "")
    yield bare if bare != gold else gold.replace("(", "\\left(").replace(")", "\\right)")
    if re.fullmatch(r"-?\d+", gold):
        yield from (f"{gold}.0", f"{int(gold):,}", f"{gold}.", rf"{gold}\text{{ cm}}", f"\\${gold}")
    if parts := re.fullmatch(r"(-?)\\frac\{(\d+)\}\{(\d+)\}", gold):
        sign, above, below = parts.groups()
        yield f"{sign}{above}/{below}"
        yield rf"{sign}\frac{{{2 * int(above)}}}{{{2 * int(below)}}}"


@pytest.mark.parametrize("name", ["gsm8k", "math_train", "math500", "minerva"])
def test_every_real_gold_answer_equals_itself_in_several_spellings(name):
    found = {answer(gold) or gold for gold in golds()[name]} - MANGLED
    failed = [(gold, text) for gold in found for text in spellings(gold) if not is_correct(rf"\boxed{{{text}}}", gold)]
    assert not failed and len(found) > 200


def test_a_thousand_pairs_of_different_gold_answers_differ():
    rng, seen = random.Random(0), sorted({answer(gold) or gold for rows in golds().values() for gold in rows} - MANGLED)
    pairs = [rng.sample(seen, 2) for _ in range(1000)]
    # What a plain reader would call the same (1/2 and 0.5) is sampled too, and rarely: none of these is.
    assert not [pair for pair in pairs if is_correct(rf"\boxed{{{pair[0]}}}", pair[1])]


def test_strings_and_plain_numbers_never_reach_the_worker(monkeypatch):
    monkeypatch.setattr(verify, "_worker", None)
    assert equivalent("1,001", "1001.0") and not equivalent("17", "19")
    assert equivalent(r"\dfrac{x}{7}", r"\frac{x}{7}")
