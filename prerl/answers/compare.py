"""Whether two forms say the same, given what can tell whether two expressions are equal."""

from fractions import Fraction
from itertools import pairwise
from typing import Protocol

from prerl.answers.forms import (
    Chain,
    Colon,
    Form,
    Named,
    Numeral,
    Ordered,
    Several,
    Statement,
    Union,
    Value,
    Words,
)
from prerl.answers.layout import squeezed
from prerl.answers.reader import read
from prerl.answers.units import compatible

TURNED = {">": "<", "ge": "le"}
ORDER = (Words, Chain, Named, Statement, Several, Union, Ordered, Numeral, Colon, Value)


class Undecided(Exception):
    """Raised where it takes algebra to tell."""


class Algebra(Protocol):
    """What tells whether expressions are equal. Texts that are no expressions equal nothing."""

    def equal(self, first: str, second: str) -> bool:
        """Whether two texts are equal expressions."""
        ...

    def proportional(self, first: tuple[str, str], second: tuple[str, str], positive: bool) -> bool:
        """Whether the differences of two pairs of texts are a constant multiple of each other, a positive one."""
        ...


class Plain:
    """Tells nothing, so that only numbers and words are compared."""

    def equal(self, first: str, second: str) -> bool:
        raise Undecided

    def proportional(self, first: tuple[str, str], second: tuple[str, str], positive: bool) -> bool:
        raise Undecided


def alike(first: str, second: str, algebra: Algebra) -> bool:
    """Whether two tidy texts say the same, whichever comes first. Raises Undecided if the algebra does."""
    return Comparison(algebra).same(read(first), read(second))


class Comparison:
    def __init__(self, algebra: Algebra) -> None:
        self.algebra = algebra

    def same(self, a: Form, b: Form) -> bool:
        """Symmetric: the form whose kind comes first in ORDER decides what the other must be."""
        first, second = sorted((a, b), key=lambda form: ORDER.index(type(form)))
        match first:
            case Words():
                return self._words(first, second)
            case Chain():
                return self._chain(first, second)
            case Named():
                return self._named(first, second)
            case Statement():
                return self._statement(first, second)
            case Several():
                return self._several(first, second)
            case Union():
                return self._union(first, second)
            case Ordered():
                return self._ordered(first, second)
            case Numeral():
                return self._numeral(first, second)
            case Colon():
                return self._colon(first, second)
            case Value():
                return self._value(first, second)

    def _value(self, a: Value, b: Form) -> bool:
        if not isinstance(b, Value) or not compatible(a.unit, b.unit):
            return False
        if a.number is not None and b.number is not None:
            return a.number == b.number
        return self.algebra.equal(_exact(a), _exact(b))

    def _words(self, a: Words, b: Form) -> bool:
        return isinstance(b, Words | Value) and _letters(a.text) == _letters(b.text) != ""

    def _chain(self, a: Chain, b: Form) -> bool:
        return all(self.same(item, b) for item in a.items)

    def _named(self, a: Named, b: Form) -> bool:
        if isinstance(b, Statement) or (isinstance(b, Named) and a.name != b.name and "" not in (a.name, b.name)):
            return self._statement(a.statement, b)
        return self.same(a.content, b.content if isinstance(b, Named) else b)

    def _statement(self, a: Statement, b: Form) -> bool:
        """Whether both are the same inequalities or equations, up to their order and a constant factor on both sides;
        or `a` is an identity and `b` is each side of it."""
        b = b.statement if isinstance(b, Named) else b
        if not isinstance(b, Statement):
            return set(a.relations) == {"="} and all(self.same(read(side), b) for side in a.sides)
        (relations, pairs), (others, more) = _pairs(a), _pairs(b)
        if not relations or relations != others:
            return False
        return all(
            self.algebra.proportional(one, other, relation in ("<", "le"))
            for relation, one, other in zip(relations, pairs, more, strict=True)
        )

    def _several(self, a: Several, b: Form) -> bool:
        if isinstance(b, Ordered):
            point = not a.braced and (b.opening, b.closing) == ("(", ")") and len(a.items) == len(b.items)
            return point and all(map(self.same, a.items, b.items))
        items = b.items if isinstance(b, Several) else (b,)
        return self._unordered(a.items, items)

    def _union(self, a: Union, b: Form) -> bool:
        return isinstance(b, Union) and self._unordered(a.items, b.items)

    def _unordered(self, a: tuple[Form, ...], b: tuple[Form, ...]) -> bool:
        rest = list(b)
        for item in a if len(a) == len(b) else ():
            place = next((place for place, other in enumerate(rest) if self.same(item, other)), None)
            if place is None:
                return False
            rest.pop(place)
        return len(a) == len(b)

    def _ordered(self, a: Ordered, b: Form) -> bool:
        if not isinstance(b, Ordered) or (a.opening, a.closing) != (b.opening, b.closing):
            return False
        return len(a.items) == len(b.items) and all(map(self.same, a.items, b.items))

    def _numeral(self, a: Numeral, b: Form) -> bool:
        return a == b

    def _colon(self, a: Colon, b: Form) -> bool:
        """Times of the day are equal part by part, other ratios as fractions."""
        if isinstance(b, Colon):
            return a.parts == b.parts and compatible(a.unit, b.unit)
        if not isinstance(b, Value) or len(a.parts) != 2 or not a.parts[1]:
            return False
        return self.same(Value("", a.unit, Fraction(*a.parts)), b)


def _exact(value: Value) -> str:
    """A value as an expression."""
    return value.text if value.number is None else f"({value.number.numerator})/({value.number.denominator})"


def _letters(text: str) -> str:
    """Words without blanks and what stands around them; a single letter keeps its case."""
    text = squeezed(text.replace("\\text", "").replace("{", "").replace("}", ""))
    text = text.strip("().,;:! ")
    return text if len(text) == 1 else text.replace(" ", "").casefold()


def _pairs(statement: Statement) -> tuple[list[str], list[tuple[str, str]]]:
    """The relations between neighbours and their sides, all that can be turned to "less than"."""
    relations, pairs = list(statement.relations), list(pairwise(statement.sides))
    turned = [TURNED.get(relation, relation) for relation in relations]
    pairs = [(b, a) if relation in TURNED else (a, b) for relation, (a, b) in zip(relations, pairs, strict=True)]
    order = (
        sorted(range(len(pairs)), key=lambda place: -place)
        if relations and relations[0] in TURNED
        else range(len(pairs))
    )
    return [turned[place] for place in order], [pairs[place] for place in order]
