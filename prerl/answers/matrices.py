"""Matrices in an expression: rows of sums."""

import sympy

from prerl.answers.symbols import Symbols
from prerl.answers.tokens import Unreadable


class Matrices(Symbols):
    """Reads matrices from tokens."""

    def sum(self) -> sympy.Expr:
        """The entry that follows."""
        raise NotImplementedError

    def matrix(self) -> sympy.Expr:
        self.environment()
        self.unbroken()
        rows = []
        while self.peek() != "\\end":
            rows.append([self.sum()])
            while self.took("&"):
                rows[-1].append(self.sum())
            if self.peek() != "\\end":
                self.take("\\\\")
        self.take()
        self.environment()
        if not rows or len({len(row) for row in rows}) != 1:
            raise Unreadable("rows of different lengths")
        return sympy.ImmutableMatrix(rows)

    def unbroken(self) -> None:
        """Raises Unreadable where a break between rows may be lost, as public copies lose those before a command."""
        texts = ["", "", *(token[1] for token in self.tokens[self.place :])]
        for before, last, command in zip(texts, texts[1:], texts[2:], strict=False):
            if command in ("\\frac", "\\sqrt") and (last == "}" or (before == "/" and last.isdigit())):
                raise Unreadable("rows run together")

    def environment(self) -> None:
        self.take("{")
        name = ""
        while not self.took("}"):
            name += self.take()
        if name != "matrix":
            raise Unreadable(name)
