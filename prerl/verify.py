r"""Whether a response to a math problem is right: the last \boxed{} (or GSM8K's ####), compared with the gold answer.

An answer means what its form says (`prerl.answers`):

- Numbers are equal if their values are: `0.5`, `1/2`, `\frac12`; `4.5e33`, `4.5 \times 10^{33}`; `1,234`, `1234.0`;
  `2 1/2`, `2\frac12`, `2.5`; `0.\overline{3}`, `1/3`, but not `0.333`. A blank between digits is no layout: `1 2` is no
  number, `1 234` is one.
- Expressions are equal if they are for all real values of their symbols, exactly, however small they are.
- A unit, a currency, a per cent sign or a noun may be left out, but two different units are two answers. `12 million`
  is 12000000; `50\%` is 50, not 0.5. A numeral to another base than ten equals the same one to the same base alone.
- What a name stands for is the answer: `x=5` and 5, `y=2x+3` and `2x+3`, `x>3` and `(3,\infty)`, `x \in S` and S. Two
  different names are two answers. An equation with more on the left than a name is a statement: `x^2=9` is not 9, and
  equals what has the same sides up to order and a constant factor; so is an inequality. True sums say their result:
  `2+3=5` is 5.
- Commas, "and" and "or" make lists, in any order, `\pm` one of two; `(1,2)` is in order, and so a point or an interval.
- Words are equal letter by letter without blanks and capitals; a single letter keeps its case.
- What cannot be read in one way is equal to itself alone, with other blanks and layout.

The order of the two answers does not matter.

Responses are hostile input: a tower of powers or a megabyte of braces must be wrong, never slow. What is not settled by
comparing strings, words or plain numbers goes to a worker process with limits on its processor time and memory; the
worker may die, the answer is then wrong, and the next question gets a new worker. Needs no torch.
"""

import atexit
import json
import re
import select
import subprocess
import sys
import tempfile
import threading
from decimal import Decimal
from functools import lru_cache
from typing import IO

from prerl.answers.compare import Plain, Undecided, alike
from prerl.answers.layout import squeezed, tidy
from prerl.answers.numbers import number
from prerl.answers.units import normal
from prerl.errors import UserError

__all__ = ["answer", "equivalent", "is_correct", "normal", "number", "readable"]

LONGEST = 300  # characters of an answer; the longest gold answer of the sets here has less than 200
CPU_SECONDS = 1.0  # that one comparison may take
WALL_SECONDS = 20.0  # until a worker that neither answers nor computes is given up (a machine may be that busy)
START_SECONDS = 600.0  # until a worker that lives is given up before it is ready: it reads sympy from a disk
MEMORY_BYTES = 1 << 30  # of the worker's address space
# What follows the first of these in a response is no part of it.
ENDS = re.compile(
    r"<\|(?:endoftext|end_of_text|im_end|eot_id|eom_id|end|eos|return|end_of_turn|endofturn|end▁of▁sentence)\|>"
    r"|<｜end▁of▁sentence｜>|</s>|<eos>|<end_of_turn>|\[/?INST\]"
)
EASY = re.compile(r"-?\d{1,30}(?:\.\d{1,30})?")


def is_correct(response: str, gold: str) -> bool:
    r"""Whether the last answer of a response equals the gold answer; False for a response without one.

    An answer is what the last \boxed{} holds, or else what follows the last ####, before the first end token. `gold`
    may be a bare answer, or a worked solution that ends with one of the two.
    """
    found = answer(response)
    return found is not None and equivalent(found, _bare(gold))


def answer(text: str) -> str | None:
    r"""The content of the last \boxed{} or \fbox{} with its braces in balance, else the line after the last ####; None
    if there is neither, or it is empty or longer than LONGEST characters. What follows an end token does not count."""
    end = ENDS.search(text)
    text = text[: end.start()] if end else text
    start = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    if start >= 0:
        found = _braced(text[start : start + LONGEST + 20])
    else:
        _, mark, rest = text.rpartition("####")
        found = rest[: LONGEST + 20].strip().split("\n")[0] if mark else None
    found = None if found is None else found.strip()
    return found if found and len(found) <= LONGEST else None


def _bare(gold: str) -> str:
    wanted = answer(gold)
    return gold.strip() if wanted is None else wanted


def _braced(text: str) -> str | None:
    r"""What the braces after the command at the start of the text hold; or, as in `\boxed 5`, the word after it."""
    command = re.match(r"\\[a-z]+\s*", text)
    if command is None:
        return None
    head = command[0]
    if not text[len(head) :].startswith("{"):
        words = text[len(head) :].split("$")[0].split()
        return words[0] if words else None
    depth = 0
    for place in range(len(head), len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0) if text[place - 1] != "\\" else 0
        if depth == 0:
            return text[len(head) + 1 : place]
    return None


def equivalent(first: str, second: str) -> bool:
    """Whether two answers mean the same, by the rules above; in either order."""
    return _equivalent(first, second) if first < second else _equivalent(second, first)


@lru_cache(maxsize=100_000)
def _equivalent(first: str, second: str) -> bool:
    if not first.strip() or not second.strip() or max(len(first), len(second)) > LONGEST:
        return False
    if EASY.fullmatch(first) and EASY.fullmatch(second):
        return Decimal(first) == Decimal(second)  # exact, and quicker than fractions
    first, second = tidy(first), tidy(second)
    if squeezed(first) == squeezed(second):
        return squeezed(first) != ""
    try:
        return alike(first, second, Plain())
    except Undecided:
        return _worker.ask(first, second)


@lru_cache(maxsize=100_000)
def readable(gold: str) -> bool:
    """Whether a gold answer can be read, so that other spellings than its own are right too."""
    text = tidy(_bare(gold)[: LONGEST + 1])
    if not text or len(text) > LONGEST:
        return False
    try:
        return alike(text, text, Plain())
    except Undecided:
        return _worker.ask(text, text)


class Worker:
    """A process that compares answers by algebra, restarted whenever it has died. What it died over is wrong, and is
    said on stderr."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None
        self.lock = threading.Lock()
        self.command = [sys.executable, "-c", "from prerl.verify import serve; serve()"]

    def ask(self, first: str, second: str) -> bool:
        """The judgement of two tidy answers; False if the worker dies over it. Raises UserError if none starts."""
        with self.lock:
            if self.process is None or self.process.poll() is not None:
                self.stop()
                self._start()
            try:
                questions, _ = self._pipes()
                questions.write(json.dumps([first, second]) + "\n")
                questions.flush()
            except BrokenPipeError:
                self.stop()
                verdict = ""
            else:
                verdict = self._line(WALL_SECONDS)
                if not verdict:
                    self.stop()
        if not verdict:
            print(f"verifier: no verdict on {first[:60]!r} (time, memory or a crash): wrong", file=sys.stderr)
        return verdict == "1"

    def _start(self) -> None:
        """Starting is not hostile: a busy machine is waited for, while the process lives."""
        pipe = subprocess.PIPE
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
            self.process = subprocess.Popen(self.command, stdin=pipe, stdout=pipe, stderr=errors, text=True)
            line = self._line(START_SECONDS)
            if line == "ready":
                return
            code = None if line is None else self.process.wait()
            self.stop()
            errors.seek(0)
            said = ([text.strip() for text in errors if text.strip()] or ["nothing"])[-1]
        if line is None:
            raise UserError(f"the verifier's worker was not ready after {START_SECONDS:.0f} s; is the machine stuck?")
        raise UserError(
            f"the verifier's worker died at its start (exit code {code}; it said: {said[:200]}); "
            "is prerl whole (`pip install -e .`), and memory left?"
        )

    def _line(self, seconds: float) -> str | None:
        """The worker's next line; empty if it died, None if it said nothing in that time."""
        _, answers = self._pipes()
        waiting, _, _ = select.select([answers], [], [], seconds)
        return answers.readline().strip() if waiting else None

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        """What the worker reads and what it writes, once it was started."""
        assert self.process is not None and self.process.stdin is not None and self.process.stdout is not None
        return self.process.stdin, self.process.stdout

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


_worker = Worker()
atexit.register(_worker.stop)


def serve() -> None:
    """The worker: reads pairs of tidy answers as JSON lines, writes 1 or 0. Its processor time is bounded by a timer
    whose signal nothing can catch or delay, not even a big integer's power inside C."""
    import resource
    import signal

    from prerl.answers.algebra import Sympy

    algebra = Sympy()
    sys.setrecursionlimit(2_000)
    sys.set_int_max_str_digits(0)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGVTALRM, signal.SIG_DFL)
    out, sys.stdout = sys.stdout, sys.stderr

    def judge(line: str) -> bool:
        first, second = json.loads(line)
        return alike(first, second, algebra)

    print("ready", file=out, flush=True)
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS)
        try:
            try:
                same = judge(line)
            except MemoryError:  # perhaps what earlier answers have left
                algebra.forget()
                same = judge(line)
        except Exception:  # a reader's failure on hostile text is a wrong answer
            same = False
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        print(int(same), file=out, flush=True)
