"""The verifier: answers in responses, hostile input, and the worker. What answers say is in test_answers.py."""

import os
import signal
import subprocess
import sys

import pytest

from prerl import verify
from prerl.errors import UserError
from prerl.verify import answer, equivalent, is_correct, normal, number


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
        (r"\boxed{12}.<|endoftext|>Human: and 3 + 4? \boxed{7}", "12"),
        ("#### 12<|im_end|>\n<|im_start|>user\n#### 7", "12"),
        (r"\boxed{12}</s> \boxed{7}", "12"),
        (r"I do not know.<|eot_id|> \boxed{7}", None),
        (r"<|im_start|>assistant \boxed{7}", "7"),
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
    "attributes": "x.__class__",
    "list": ",".join(["\\sqrt{2}"] * 30),
    "list of towers": ",".join(["9^{9^{9^9}}"] * 20),
    "lists in lists": "(" * 140 + "1,2" + ")" * 140,
    "relations": "=½" * 145,
    "signs": "1\\pm" * 70 + "1",
    "derivatives": r"\frac{d x}{d t}" * 20,
    "fonts": r"\mathbf{" * 37 + "}" * 4,
    "matrix": r"\begin{pmatrix}" + "1&" * 130 + r"1\end{pmatrix}",
    "huge power": "10^{10^{7}}",
    "small power": "x^2+10^{-10^{10}}",
    "digits": "9" * 290 + "!",
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


def test_a_worker_that_is_slow_to_start_is_waited_for(monkeypatch):
    worker = verify.Worker()
    worker.command[-1] = f"import time; time.sleep(1.5); {worker.command[-1]}"
    with monkeypatch.context() as patched:
        patched.setattr(verify, "WALL_SECONDS", 0.1)
        worker._start()
    assert worker.ask("x+6", "6+x")
    worker.stop()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import sys; sys.exit('no sympy here')", r"died at its start \(exit code 1; it said: no sympy here\)"),
        ("import os; os.kill(os.getpid(), 9)", r"died at its start \(exit code -9; it said: nothing\)"),
        ("import time; time.sleep(600)", r"was not ready after 1 s"),
    ],
)
def test_a_worker_that_does_not_start_is_one_line(monkeypatch, code, message):
    worker = verify.Worker()
    worker.command[-1] = code
    monkeypatch.setattr(verify, "START_SECONDS", 60 if "sleep" not in code else 1.0)
    with pytest.raises(UserError, match=message):
        worker.ask("x+1", "1+x")
    assert worker.process is None


def test_memory_that_earlier_answers_have_filled_is_freed_and_the_answer_read_again():
    full = (
        'import prerl.verify, sys, io; sys.stdin = io.StringIO(\'["x+1", "1+x"]\'); alike = prerl.verify.alike\n'
        "def once(*arguments):\n    prerl.verify.alike = alike\n    raise MemoryError\n"
        "prerl.verify.alike = once; prerl.verify.serve()"
    )
    result = subprocess.run([sys.executable, "-c", full], capture_output=True, text=True)
    assert result.stdout == "ready\n1\n"


def test_a_worker_has_little_memory():
    limits = (
        "import prerl.verify, resource, sys, io; sys.stdin = io.StringIO(''); prerl.verify.serve();"
        "print(resource.getrlimit(resource.RLIMIT_AS)[0], file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", limits], capture_output=True, text=True)
    assert result.stdout == "ready\n" and int(result.stderr) == verify.MEMORY_BYTES


def test_strings_and_plain_numbers_never_reach_the_worker(monkeypatch):
    monkeypatch.setattr(verify, "_worker", None)
    assert equivalent("1,001", "1001.0") and not equivalent("17", "19")
    assert equivalent(r"\dfrac{x}{7}", r"\frac{x}{7}")
