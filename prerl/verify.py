r"""Whether a response to a math problem is right: the last \boxed{} (or GSM8K's ####), math-verify for equivalence.

Responses are hostile input: a tower of powers or a megabyte of braces must be wrong, never slow. What is not settled
by comparing strings or plain numbers goes to a worker process with limits on its processor time and memory; the worker
may die, the answer is then wrong, and the next question gets a new worker. Needs no torch.
"""

import atexit
import json
import re
import select
import subprocess
import sys
import threading
from fractions import Fraction
from functools import lru_cache

from prerl.errors import UserError

LONGEST = 300  # characters of an answer; the longest gold answer of the sets here has less than 200
CPU_SECONDS = 1.0  # that one comparison may take
WALL_SECONDS = 20.0  # until a worker that neither answers nor computes is given up (a machine may be that busy)
MEMORY_BYTES = 1 << 30  # of the worker's address space
NUMBER = re.compile(r"-?(?:\d{1,30}|\d{0,30}\.\d{1,30}|\d{1,30}\.)")
WORDS = (
    "inche? centimeter meter mile feet foot yard unit degree dollar cent hour minute second day week year point "
    "student people person way pound ounce gallon cm km mm m ft in s"
)
UNITS = re.compile(
    rf"\\(?:text|mbox|mathrm)\{{\s*(?:square |cubic )?(?:{WORDS.replace(' ', '|')})(?:e?s)?\.?\s*\}}"
    r"(?:\^\{?[23]\}?)?$"
)


def is_correct(response: str, gold: str) -> bool:
    r"""Whether the last answer of a response equals the gold answer; False for a response without one.

    An answer is what the last \boxed{} holds, or else what follows the last ####. `gold` may be a bare answer, or a
    worked solution that ends with one of the two.
    """
    found = answer(response)
    wanted = answer(gold)
    return found is not None and equivalent(found, gold.strip() if wanted is None else wanted)


def answer(text: str) -> str | None:
    r"""The content of the last \boxed{} or \fbox{} with its braces in balance, else the line after the last ####; None
    if there is neither, or it is empty or longer than LONGEST characters."""
    start = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    if start >= 0:
        found = _braced(text[start : start + LONGEST + 20])
    else:
        _, mark, rest = text.rpartition("####")
        found = rest[: LONGEST + 20].strip().split("\n")[0] if mark else None
    found = None if found is None else found.strip()
    return found if found and len(found) <= LONGEST else None


def _braced(text: str) -> str | None:
    r"""What the braces after the command at the start of the text hold; or, as in `\boxed 5`, the word after it."""
    head = re.match(r"\\[a-z]+\s*", text)[0]
    if not text[len(head) :].startswith("{"):
        return text[len(head) :].split("$")[0].split()[0] if text[len(head) :].split("$")[0].split() else None
    depth = 0
    for place in range(len(head), len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0) if text[place - 1] != "\\" else 0
        if depth == 0:
            return text[len(head) + 1 : place]
    return None


@lru_cache(maxsize=100_000)
def equivalent(first: str, second: str) -> bool:
    """Whether two answers mean the same: equal when written alike, equal numbers, or equal for math-verify."""
    first, second = normal(first), normal(second)
    if not first or not second or max(len(first), len(second)) > LONGEST:
        return False
    if first == second:
        return True
    numbers = number(first), number(second)
    if None not in numbers:
        return numbers[0] == numbers[1]
    return _worker.ask(first, second)


def normal(text: str) -> str:
    """An answer without what does not change its meaning: layout commands, currency, per cent signs, units."""
    text = "".join(letter for letter in text if letter.isprintable() or letter.isspace())
    text = text.strip(" \n\t$").replace("\u2212", "-").rstrip(".")
    text = re.sub(r"(?<!\\)\\(?:left|right|displaystyle|!|,|;|:|\s)(?![a-zA-Z])", "", text)
    text = re.sub(r"\\[dt]frac", r"\\frac", text)
    text = re.sub(r"(?:\\?%|\\?\$|\^\{?\\circ\}?|\^\\degree|\\degree|\u00b0)", "", text)
    if re.fullmatch(r"-?[\d,{}]+(?:\.\d+)?", text):  # the commas of thousands
        text = re.sub(r"(?<=\d)(?:,|\{,\})(?=\d{3}(?!\d))", "", text)
    text = UNITS.sub("", text.strip())
    whole = re.fullmatch(r"\\(?:text|mathrm|mbox|textbf)\{([^{}]*)\}", text.strip())
    return " ".join((whole[1] if whole else text).split())


def number(text: str) -> Fraction | None:
    """The value of a plain integer, decimal or fraction of integers."""
    text = text.replace(" ", "")
    parts = re.fullmatch(r"(-?)\\frac\{?(-?\d{1,30}?)\}?\{?(\d{1,30})\}?", text)
    if parts:
        numerator, denominator = Fraction(parts[2]), Fraction(parts[3])
        value = numerator / denominator if denominator else None
        return -value if value is not None and parts[1] else value
    if "/" in text:
        above, _, below = text.partition("/")
        if re.fullmatch(r"-?\d{1,30}", above) and re.fullmatch(r"\d{1,30}", below) and int(below):
            return Fraction(int(above), int(below))
        return None
    return Fraction(text.rstrip(".") if text.endswith(".") else text) if NUMBER.fullmatch(text) else None


class Worker:
    """A process that compares answers with math-verify, restarted whenever it has died. What it died over is wrong,
    and is said on stderr."""

    def __init__(self) -> None:
        self.process: subprocess.Popen | None = None
        self.lock = threading.Lock()

    def ask(self, first: str, second: str) -> bool:
        """math-verify's judgement of two answers; False if the worker dies over it."""
        with self.lock:
            if self.process is None or self.process.poll() is not None:
                self.stop()
                self._start()
            try:
                self.process.stdin.write(json.dumps([first, second]) + "\n")
                self.process.stdin.flush()
            except BrokenPipeError:
                self.stop()
                verdict = ""
            else:
                verdict = self._line()
        if not verdict:
            print(f"verifier: no verdict on {first[:60]!r} (time, memory or a crash): wrong", file=sys.stderr)
        return verdict == "1"

    def _start(self) -> None:
        command = [sys.executable, "-c", "from prerl.verify import serve; serve()"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
        if self._line() != "ready":
            raise UserError("the verifier's worker does not start; is math-verify installed, and memory left?")

    def _line(self) -> str:
        """The worker's next line; empty if it died or was given up."""
        if select.select([self.process.stdout], [], [], WALL_SECONDS)[0]:
            line = self.process.stdout.readline().strip()
            if line:
                return line
        self.stop()
        return ""

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


_worker = Worker()
atexit.register(_worker.stop)


def serve() -> None:
    """The worker: reads pairs of answers as JSON lines, writes 1 or 0. Its processor time is bounded by a timer whose
    signal nothing can catch or delay, not even a big integer's power inside C."""
    import logging
    import resource
    import signal

    from math_verify import parse, verify

    logging.disable()
    sys.setrecursionlimit(2_000)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    signal.signal(signal.SIGVTALRM, signal.SIG_DFL)
    out, sys.stdout = sys.stdout, sys.stderr
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS)
        try:
            first, second = (parse(rf"\boxed{{{text}}}", parsing_timeout=None) for text in json.loads(line))
            same = verify(second, first, timeout_seconds=None)
        except Exception:  # a parser's failure on hostile text is a wrong answer
            same = False
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        print(int(same), file=out, flush=True)
