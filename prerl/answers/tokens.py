"""The tokens of an expression in LaTeX: numbers, letters, commands, texts, signs."""

import re

from prerl.answers.layout import FUNCTIONS, squeezed
from prerl.answers.names import SYMBOL
from prerl.answers.numbers import RECURRING

TOKEN = re.compile(
    rf"\s*(?:(?P<recurring>{RECURRING.pattern})|(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{{1,3}}(?![\d^_a-zA-Z]))?)"
    r"|(?P<text>\\text\{[^{}]*\})|(?P<command>\\(?:[a-zA-Z]+|.))|(?P<letter>[a-zA-Z])|(?P<sign>.))",
    re.DOTALL,
)
DERIVED = rf"(?:d|\\partial)\s*(?:\^\s*\{{?\s*(\d)\s*\}}?)?\s*({SYMBOL})"
DERIVATIVE = re.compile(
    rf"\\frac\s*\{{\s*{DERIVED}\}}\s*\{{\s*(?:d|\\partial)\s*({SYMBOL})(?:\^\s*\{{?\s*(\d)\s*\}}?\s*)?\}}"
    rf"|(?<![a-zA-Z\\]){DERIVED}/\s*(?:d|\\partial)\s*({SYMBOL})(?:\^\s*\{{?\s*(\d)\s*\}}?)?(?![a-zA-Z])"
)


class Unreadable(ValueError):
    """A text that is no expression."""


class Tokens:
    """A place in the tokens of a text. Derivatives, as dy/dx, are one token, a text."""

    def __init__(self, text: str) -> None:
        matches = [match for match in TOKEN.finditer(DERIVATIVE.sub(_derivative, text)) if match[0].strip()]
        self.tokens = [(match.lastgroup, match[0].strip(), match[0][0].isspace()) for match in matches]
        self.place = 0

    def peek(self) -> str | None:
        """The next token."""
        return self.tokens[self.place][1] if self.place < len(self.tokens) else None

    def kind(self) -> str | None:
        """The next token's kind: a group of TOKEN."""
        return self.tokens[self.place][0] if self.place < len(self.tokens) else None

    def after_blank(self) -> bool:
        return self.tokens[self.place][2]

    def ahead(self, count: int) -> list[tuple[str | None, str]]:
        """Kinds and texts of tokens from the next one on, fewer at the end."""
        return [token[:2] for token in self.tokens[self.place : self.place + count]]

    def calls(self) -> bool:
        """Whether a function's name follows."""
        return (self.peek() or "")[1:] in FUNCTIONS

    def take(self, wanted: str | None = None) -> str:
        """The next token, passed. Raises Unreadable if it is not the wanted one."""
        found = self.peek()
        if found is None or wanted not in (None, found):
            raise Unreadable(f"{found} instead of {wanted}")
        self.place += 1
        return found

    def took(self, *signs: str) -> str | None:
        """The next token, passed if it is one of these."""
        return self.take() if self.peek() in signs else None

    def split_digit(self) -> None:
        """Parts the next number after its first digit."""
        kind, text, blank = self.tokens[self.place] if self.place < len(self.tokens) else (None, "", False)
        if kind == "number" and text.isdigit() and len(text) > 1:
            self.tokens[self.place : self.place + 1] = [(kind, text[0], blank), (kind, text[1:], False)]


def _derivative(match: re.Match) -> str:
    """A derivative as one symbol; nothing that can be read if it has two orders."""
    order, of, by, same = match.groups()[:4] if match[2] else match.groups()[4:]
    if (order or "1") != (same or "1"):
        return r"\text{}"
    return rf"\text{{d{order or 1} {re.sub(r'[{}]', '', squeezed(of))} by {re.sub(r'[{}]', '', squeezed(by))}}}"
