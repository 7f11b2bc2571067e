r"""Expressions in LaTeX as sympy's. Only the worker reads them, for a tower of powers takes forever.

A strict reader: what it does not know, or what can be read in two ways (`5 6`, `(x+1)2`, `3\frac{5}{2}`), is no
expression. math-verify's parser is lenient: for version 0.9.0 `(2)(3)` is 5, `52_8` is 52, B is b and dx/dt is 0. `i`
is the imaginary unit, e Euler's number, `\log` the logarithm to base ten.
"""

from functools import lru_cache

import sympy

from prerl.answers.layout import FUNCTIONS
from prerl.answers.matrices import Matrices
from prerl.answers.numbers import value
from prerl.answers.operations import CALLED, checked, divided
from prerl.answers.symbols import LETTERS
from prerl.answers.tokens import Unreadable

CLOSING = {"(": ")", "[": "]", "{": "}", "\\{": "\\}", "\\lfloor": "\\rfloor", "\\lceil": "\\rceil"}


@lru_cache(maxsize=1000)
def parse(text: str) -> sympy.Expr:
    """The expression or matrix that a text is. Raises Unreadable."""
    found = _Parser(text).whole()
    if found.has(sympy.nan, sympy.zoo):
        raise Unreadable(text)
    return found


class _Parser(Matrices):
    """Recursive descent: a sum of products of factors, each with its postfixes."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.bars = 0

    def whole(self) -> sympy.Expr:
        found = self.ratio()
        if self.peek() is not None:
            raise Unreadable(self.peek())
        return found

    def ratio(self) -> sympy.Expr:
        found = self.sum()
        return divided(found, self.sum()) if self.took(":") else found

    def sum(self) -> sympy.Expr:
        found = self.product()
        while sign := self.took("+", "-"):
            term = self.product()
            found = checked(lambda a, b: a + b, found, -term if sign == "-" else term)
        return found

    def product(self) -> sympy.Expr:
        if sign := self.took("+", "-"):
            return -self.product() if sign == "-" else self.product()
        start = self.place
        found = self.factors()
        while sign := self.took("*", "\\cdot", "\\times", "\\ast", "/", "\\div"):
            negative = bool(self.took("-"))
            if sign in ("/", "\\div"):
                literal = self.place - start == 2 and self.tokens[start][0] == "number"
                found = divided(found, self.denominator(literal))
                found = self.factors(found)
            else:
                found = checked(lambda a, b: a * b, found, self.factors())
            found = -found if negative else found
        return found

    def denominator(self, literal: bool) -> sympy.Expr:
        """What stands below a slash: a/bc is a/(bc), but a/b c, a/(b)c, a/b(c) and 1/2x are products with c or x."""
        group, number = self.peek() in CLOSING, self.kind() == "number"
        found = self.factor()
        while self.begins() and not (group or (literal and number) or self.peek() in CLOSING):
            command = self.tokens[self.place - 1][0] == "command"
            if (self.after_blank() and not command) or self.calls():
                break
            found = checked(lambda a, b: a * b, found, self.factor())
        return found

    def factors(self, found: sympy.Expr | None = None, stop: bool = False) -> sympy.Expr:
        """Factors side by side. A number may only be the first; before a function or a bracket an argument stops."""
        if found is None:
            mixed = self.mixed()
            found = mixed if mixed is not None else self.factor()
        while self.begins() and not (stop and (self.calls() or self.peek() == "(")):
            found = checked(lambda a, b: a * b, found, self.factor())
        return found

    def word(self) -> str:
        """The next token without its backslash; empty at the end."""
        return (self.peek() or "")[1:]

    def begins(self) -> bool:
        """Whether another factor follows without a sign. A number does not: `x 2` can be read in several ways."""
        token = self.peek()
        if token is None or self.kind() in ("number", "recurring"):
            if token is not None:
                raise Unreadable(token)
            return False
        if token == "|":
            return not self.bars
        if token == "{" and self.ahead(2)[-1][0] == "number":
            raise Unreadable("a number in braces")
        return (
            token in CLOSING
            or self.kind() in ("letter", "text")
            or (
                self.kind() == "command"
                and token[1:].isalpha()
                and token[1:] not in ("cdot", "times", "ast", "div", "rfloor", "rceil", "end")
            )
        )

    def mixed(self) -> sympy.Expr | None:
        r"""A whole number with a proper fraction: 2\frac{1}{2}."""
        ahead = self.ahead(2)
        if len(ahead) < 2 or ahead[0][0] != "number" or not ahead[0][1].isdigit() or ahead[1][1] != "\\frac":
            return None
        start, whole = self.place, int(self.take())
        part = self.factor(powers=False)
        if not isinstance(part, sympy.Rational):
            self.place = start
            return None
        if not 0 < part < 1 or self.peek() == "^":
            raise Unreadable("a mixed number without a proper fraction")
        return whole + part

    def factor(self, powers: bool = True) -> sympy.Expr:
        kind, token = self.kind(), self.peek() or ""
        if kind in ("number", "recurring"):
            found = self.number()
        elif kind == "text":
            found = self.named()
        elif kind == "letter" or (kind == "command" and self.word() in LETTERS):
            found = self.symbol()
        elif kind == "command" or token in CLOSING or token == "|":
            found = self.command(self.take())
        else:
            raise Unreadable(token)
        return self.postfixed(found) if powers else found

    def number(self) -> sympy.Expr:
        found = value(self.take())
        if found is None:
            raise Unreadable("number")
        return sympy.Rational(found.numerator, found.denominator)

    def postfixed(self, found: sympy.Expr) -> sympy.Expr:
        """With its power, factorial or degrees; two of one kind can be read in two ways."""
        passed = ""
        while sign := self.took("^", "!", "\\degree"):
            if sign == passed:
                raise Unreadable(sign)
            if sign == "^":
                found = checked(lambda a, b: a**b, found, self.argument())
            else:
                found = sympy.factorial(found) if sign == "!" else found * sympy.pi / 180
            passed = sign
        return found

    def argument(self) -> sympy.Expr:
        r"""What a power or \sqrt takes: a group, or one number or symbol."""
        if self.took("-"):
            return -self.argument()
        if self.peek() == "{":
            return self.group()
        return self.factor(powers=False)

    def digit(self) -> sympy.Expr:
        r"""What \frac takes: a group, or one digit, as in \frac12."""
        self.split_digit()
        return self.argument()

    def group(self) -> sympy.Expr:
        opening = self.take()
        bars, self.bars = self.bars, 0
        found = self.ratio()
        self.take(CLOSING[opening])
        self.bars = bars
        return found

    def command(self, token: str) -> sympy.Expr:
        name = token[1:]
        if token == "|":
            self.bars += 1
            found = sympy.Abs(self.sum())
            self.take("|")
            self.bars -= 1
            return found
        if token in ("(", "[", "{", "\\lfloor", "\\lceil"):
            self.place -= 1
            found = self.group()
            return {"\\lfloor": sympy.floor, "\\lceil": sympy.ceiling}.get(token, lambda inner: inner)(found)
        if name == "frac":
            return divided(self.digit(), self.digit())
        if name == "binom":
            return sympy.binomial(self.digit(), self.digit())
        if name == "sqrt":
            root = self.group() if self.peek() == "[" else sympy.Integer(2)
            return checked(lambda a, b: a**b, self.argument(), 1 / root)
        if name in ("angle", "triangle", "measuredangle"):
            letters = [self.take() for _ in range(3) if self.kind() == "letter"]
            return sympy.Symbol(f"{name} {''.join(letters)}")
        if name == "infty":
            return sympy.oo
        if name == "begin":
            return self.matrix()
        if name in FUNCTIONS:
            return self.function(name)
        raise Unreadable(token)

    def function(self, name: str) -> sympy.Expr:
        power = base = None
        if name == "log" and self.took("_"):
            base = self.digit()
        if self.took("^"):
            power = self.argument()
        call = CALLED[name]
        if power == -1 and f"arc{name}" in CALLED:
            call, power = CALLED[f"arc{name}"], None
        if self.peek() in ("(", "{", "["):
            argument = self.group()
        else:
            negative = bool(self.took("-"))
            argument = self.factors(stop=True)
            argument = -argument if negative else argument
        found = sympy.log(argument, base) if base is not None else call(argument)
        return found if power is None else found**power
