"""Symbols in an expression: letters with their accents, subscripts and primes, words, values of unknown functions."""

import re

import sympy

from prerl.answers.layout import ACCENTS, GREEK, squeezed
from prerl.answers.tokens import Tokens, Unreadable

SYNONYMS = {"varepsilon": "epsilon", "varphi": "phi", "vartheta": "theta"}
LETTERS = {*GREEK, *ACCENTS, "hbar", "ell"}  # commands with which a symbol begins
CONSTANTS = {"e": sympy.E, "i": sympy.I, "pi": sympy.pi}


class Symbols(Tokens):
    """Reads symbols from tokens."""

    def group(self) -> sympy.Expr:
        """What stands in the brackets that follow."""
        raise NotImplementedError

    def symbol(self) -> sympy.Expr:
        """A symbol with accent, subscript and primes, or the value of an unknown function, as of x(t) and I(0)."""
        name = self.take().removeprefix("\\")
        if name in ACCENTS:
            braced = self.took("{")
            while self.kind() in ("letter", "command") or (braced and self.peek() not in ("}", None)):
                name += f" {self.take()}"
                if not braced:
                    break
            if braced:
                self.take("}")
        name = SYNONYMS.get(name, name)
        if name in CONSTANTS and self.peek() != "_":
            return CONSTANTS[name]
        if self.took("_"):
            name += f"_{self.subscript()}"
        while self.took("'"):
            name += "'"
        if self.peek() == "(" and (name in ("f", "g", "F", "G") or self.simple()):
            return sympy.Function(name)(self.group())
        return sympy.Symbol(name)

    def subscript(self) -> str:
        if self.peek() != "{":
            return squeezed(self.take()).replace("\\text", "").strip("{}\\ ")
        depth, found = 0, ""
        while True:
            token = self.take()
            depth += {"{": 1, "}": -1}.get(token, 0)
            found += token
            if depth == 0:
                return re.sub(r"\\text|[{}\\ ]", "", found)

    def simple(self) -> bool:
        """Whether a single number or symbol stands in the brackets that follow."""
        inner = self.ahead(3)[1:]
        return len(inner) == 2 and inner[1][1] == ")" and inner[0][0] in ("number", "letter", "command")

    def named(self) -> sympy.Symbol:
        r"""A symbol that is a word, in \text."""
        name = squeezed(self.take()[6:-1])
        if not name:
            raise Unreadable("no name")
        return sympy.Symbol(name if len(name) == 1 else f"text {name}")
