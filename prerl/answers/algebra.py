"""Whether two expressions are equal: by their values, and never by closeness alone. Runs in the worker.

math-verify subtracts, evaluates to 15 digits and takes what is below 1e-15 for zero, so 2^{-60} is 2^{-61} there. Here
sympy works with more and more digits until it knows the difference's first one, or 2,000 have shown none.
"""

import random

import sympy
from sympy.core.cache import clear_cache
from sympy.core.function import AppliedUndef

from prerl.answers.expressions import Unreadable, parse

DIGITS = 2000  # to which two expressions must agree to be equal


class Sympy:
    """An `Algebra`."""

    def equal(self, first: str, second: str) -> bool:
        try:
            return equal(parse(first), parse(second))
        except Unreadable:
            return False

    def proportional(self, first: tuple[str, str], second: tuple[str, str], positive: bool) -> bool:
        try:
            (left, right), (other, last) = (tuple(map(parse, pair)) for pair in (first, second))
        except Unreadable:
            return False
        return proportional(left - right, other - last, positive)

    def forget(self) -> None:
        """Frees the memory of what is kept from earlier questions."""
        parse.cache_clear()
        clear_cache()


def equal(a: sympy.Expr, b: sympy.Expr) -> bool:
    """Whether two expressions or matrices are equal for all real values of their symbols for which both are real.

    By their values: exact if they are rational, else to 2,000 digits, in numbers and points that nobody can guess
    from the question.
    """
    if isinstance(a, sympy.MatrixBase) and isinstance(b, sympy.MatrixBase):
        return a.shape == b.shape and all(map(equal, a.flat(), b.flat()))
    if isinstance(a, sympy.MatrixBase) or isinstance(b, sympy.MatrixBase):
        return False
    if a == b:
        return True
    a, b = _opaque(a), _opaque(b)
    return all(_agree(a, b, point) for point in _points(a, b))


def proportional(a: sympy.Expr, b: sympy.Expr, positive: bool) -> bool:
    """Whether one expression is a constant multiple of the other, a positive one if so asked."""
    a, b = _opaque(a), _opaque(b)
    if not (a.free_symbols and a.free_symbols == b.free_symbols):
        return False
    first = _points(a, b)[0]
    at, other = (side.subs({**first}) for side in (a, b))
    return bool(at.is_zero is False) and equal(a * other, b * at) and not (positive and not sympy.re(other / at) > 0)


def _opaque(expression: sympy.Expr) -> sympy.Expr:
    """With a symbol for each value of an unknown function."""
    named = expression.replace(lambda part: isinstance(part, AppliedUndef), lambda part: sympy.Symbol(str(part)))
    return named  # pyright: ignore[reportReturnType]  (an expression stays one; sympy says less of what it returns)


def _points(a: sympy.Expr, b: sympy.Expr) -> list[dict[sympy.Symbol, sympy.Expr]]:
    """Values for the symbols of two expressions: two points of positive ones, three of either sign."""
    names = sorted(str(symbol) for symbol in a.free_symbols | b.free_symbols)
    rng = random.Random(f"{names}")
    signs = [1] * 2 * len(names) + [rng.choice((1, -1)) for _ in range(3 * len(names))]
    if not names:
        return [{}]
    drawn = [sign * sympy.Rational(rng.randrange(10**5, 3 * 10**6), 10**6 + 3) for sign in signs]
    return [
        {sympy.Symbol(name): drawn[len(names) * point + place] for place, name in enumerate(names)}
        for point in range(5)
    ]


def _agree(a: sympy.Expr, b: sympy.Expr, point: dict[sympy.Symbol, sympy.Expr]) -> bool:
    """Whether two expressions are equal at a point, or neither is real there but both are elsewhere."""
    if not (a.is_finite is not False and b.is_finite is not False):
        return False
    difference = (a - b).evalf(15, subs={**point}, maxn=DIGITS)
    if all(_nothing(part) for part in difference.as_real_imag()):
        return True
    return any(value < 0 for value in point.values()) and not any(
        _nothing(side.evalf(15, subs={**point}, maxn=100).as_real_imag()[1]) for side in (a, b)
    )


def _nothing(number: sympy.Expr) -> bool:
    """Whether a number is zero to all digits that were asked for: sympy then knows none of its digits."""
    return number == 0 or (isinstance(number, sympy.Float) and number._prec == 1)
