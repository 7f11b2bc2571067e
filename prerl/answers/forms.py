"""What an answer may be: a value, words, a list, a point or interval, a union, a named value, a statement, a numeral.

Values in them are left as text: what they are worth is `compare`'s question and the worker's.
"""

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Value:
    """An amount as text, its exact value if it is a written number, its unit as of `units.parted`."""

    text: str
    unit: str | None = ""
    number: Fraction | None = None


@dataclass(frozen=True)
class Words:
    text: str


@dataclass(frozen=True)
class Several:
    """Answers in any order; those in braces are a set, which is not a point."""

    items: tuple["Form", ...]
    braced: bool = False


@dataclass(frozen=True)
class Ordered:
    """A point or an interval: which of the two, the brackets alone do not say."""

    opening: str
    items: tuple["Form", ...]
    closing: str


@dataclass(frozen=True)
class Union:
    items: tuple["Form", ...]


@dataclass(frozen=True)
class Statement:
    """Sides and the relations between neighbours, for which x^2=9 and 2x>6 are no values."""

    sides: tuple[str, ...]
    relations: tuple[str, ...]


@dataclass(frozen=True)
class Named:
    """What a name stands for (x=5, x>3), and the whole statement. A bound without a name (>3) has the name ""."""

    name: str
    content: "Form"
    statement: Statement


@dataclass(frozen=True)
class Chain:
    """Equal constants, as in 2+3=5: what it says is each of them."""

    items: tuple["Form", ...]


@dataclass(frozen=True)
class Numeral:
    """Digits to a base that is not ten."""

    digits: str
    base: int


@dataclass(frozen=True)
class Colon:
    """A ratio, or a time of the day."""

    parts: tuple[int, ...]
    unit: str | None = ""


Form = Value | Words | Several | Ordered | Union | Named | Statement | Chain | Numeral | Colon
