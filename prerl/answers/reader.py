r"""The form of an answer, read from its text alone. What stands in no form known here is left as a value."""

import re
from collections.abc import Callable

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
from prerl.answers.layout import FUNCTIONS, inside, squeezed, trimmed
from prerl.answers.names import NAME, SYMBOL
from prerl.answers.numbers import value
from prerl.answers.units import parted

DEEPEST = 8  # brackets within brackets
CONSTANTS = re.compile(
    rf"\\(?:{'|'.join(FUNCTIONS)}|frac|sqrt|binom|cdot|times|div|pi|degree|overline|infty)(?![a-zA-Z])"
)
RELATION = re.compile(r"\\(le|ge|ne|approx|in)(?![a-zA-Z])|([=<>])")
SUCH_THAT = re.compile(r"[|:]")
SEPARATOR = re.compile(r"[,;]|,?\s*\\text\{\s*,?\s*(and|or)\s*\}|,?\s+(and|or)\s+")
NUMERAL = re.compile(
    r"(-?)\s*(?:\\text\{\s*|\()?\s*([\dA-Z]*\d[\dA-Z]*|(?<=\{)[A-Z]+)\s*[})]?\s*"
    r"(?:_\s*(?:\{\s*(\d{1,2})\s*\}|\{?\s*\\text\{\s*([a-z]+)\s*\}\s*\}?|(\d{1,2}))|(?:\\text\{)?\s*\(?\s*base[\s}]+(\d{1,2})\s*\)?\s*\}?)"
)
BASE_NAMES = "two three four five six seven eight nine ten eleven twelve"
BASES = {name: base for base, name in enumerate(BASE_NAMES.split(), 2)} | {"sixteen": 16}
COLON = re.compile(r"\d{1,9}(?:\s*:\s*\d{1,9})+")
REALS = re.compile(r"\\mathbb\s*(?:\{\s*R\s*\}|R)|\\text\{\s*(?:all )?real(?: number)?s\s*\}")


def read(text: str, depth: int = 0) -> Form:
    """The form of a tidy text."""
    text = trimmed(text)
    if depth > DEEPEST:
        return Value(text)
    for reader in (_words, _numeral, _several, _relations, _union, _brackets, _both_signs):
        found = reader(text, lambda part: read(part, depth + 1))
        if found is not None:
            return found
    amount, factor, _ = parted(text)
    if factor == 1 and amount != text and (found := _brackets(amount, lambda part: read(part, depth + 1))):
        return found  # a point with a unit
    return _value(text)


def split(text: str, pattern: re.Pattern) -> tuple[list[str], list[str]]:
    """The parts of a text around what matches outside all brackets, and the matches."""
    parts, marks, depth, place, start = [], [], 0, 0, 0
    while place < len(text):
        match = pattern.match(text, place) if depth == 0 else None
        if match and match[0].strip():
            parts.append(text[start:place])
            marks.append(match[0].strip())
            place = start = match.end()
            continue
        if text[place] == "\\":
            command = re.match(r"\\(?:[a-zA-Z]+|.?)", text[place:], re.DOTALL)
            assert command is not None  # a backslash alone is one
            name = command[0]
            depth += {"\\{": 1, "\\langle": 1, "\\begin": 1, "\\}": -1, "\\rangle": -1, "\\end": -1}.get(name, 0)
            place += len(name)
        else:
            depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(text[place], 0)
            place += 1
    return [*parts, text[start:]], marks


Reader = Callable[[str], Form]


def _value(text: str) -> Value | Colon:
    amount, factor, unit = parted(text)
    if COLON.fullmatch(amount):
        return Colon(tuple(int(part) for part in amount.split(":")), unit)
    number = value(amount)
    if factor != 1:
        amount = f"({amount}) \\cdot {factor}"
    return Value(amount, unit, number * factor if number is not None else None)


def _words(text: str, inner: Reader) -> Form | None:
    whole = inside(text, "\\text{", "}")
    if whole is not None and "\\" not in whole:
        if re.search(r"[A-Za-z]{2}", whole) and not re.match(r"\s*[-+$]?\s*[\d.]", whole):
            parts = [part for part in re.split(r"[,;]|\sand\s|\sor\s", whole) if part.strip()]
            return Several(tuple(Words(part.strip()) for part in parts)) if len(parts) > 1 else Words(whole.strip())
        return inner(whole)
    plain = re.fullmatch(r"[A-Za-z][A-Za-z'\- ]*", text)
    if plain and (re.search(r"[A-Za-z]{4}", text) or re.fullmatch(r"[A-Z]{3,}", text)):
        return None if re.search(r"\s(?:and|or)\s", text) else Words(text)
    return None


def _numeral(text: str, inner: Reader) -> Form | None:
    parts = NUMERAL.fullmatch(text)
    if parts is None:
        return None
    base = parts[3] or parts[5] or parts[6] or BASES.get(parts[4])
    if base is None or not 2 <= int(base) <= 36:
        return None
    digits = parts[1] + (parts[2].lstrip("0") or "0")
    return inner(digits) if int(base) == 10 else Numeral(digits, int(base))


def _several(text: str, inner: Reader) -> Form | None:
    parts, marks = split(text, SEPARATOR)
    items = tuple(inner(part) for part in parts if part.strip())
    if len(items) < 2:
        return None
    bounds = [item for item in items if isinstance(item, Named) and isinstance(item.content, Ordered | Union)]
    one_name = len(bounds) == len(items) and len({item.name for item in bounds}) == 1
    if one_name and all("or" in mark for mark in marks):
        return Named(bounds[0].name, _united([item.content for item in bounds]), Statement((text,), ()))
    return Several(items)


def _united(contents: list[Form]) -> Union:
    return Union(tuple(part for item in contents for part in (item.items if isinstance(item, Union) else (item,))))


def _union(text: str, inner: Reader) -> Form | None:
    if REALS.fullmatch(text):
        return inner("(-\\infty,\\infty)")
    whole, _, without = text.partition("\\setminus")
    point = inside(without.strip(), "\\{", "\\}")
    if REALS.fullmatch(whole.strip()) and point and "," not in point:
        return inner(rf"(-\infty,{point})\cup({point},\infty)")
    parts, _ = split(text, re.compile(r"\\cup(?![a-zA-Z])"))
    return _united([inner(part) for part in parts]) if len(parts) > 1 else None


def _brackets(text: str, inner: Reader) -> Form | None:
    for opening, closing in ((r"\{", r"\}"), (r"\langle", r"\rangle")):
        content = inside(text, opening, closing)
        if content is not None:
            element, marks = split(content, SUCH_THAT)
            if marks and opening == r"\{" and NAME.fullmatch(element[0].split(r"\in")[0].strip()):
                return inner(element[1]) if len(marks) == 1 else None
            parts = [part for part in split(content, re.compile("[,;]"))[0] if part.strip()]
            items = tuple(inner(part) for part in parts)
            if opening == r"\langle":
                return Ordered("(", items, ")")
            return Several(sum(((item.items if isinstance(item, Several) else (item,)) for item in items), ()), True)
    for opening, closing in ("()", "[]", "(]", "[)", "][", "](", ")["):
        content = text[1:-1] if text[:1] == opening and text[-1:] == closing and _alone(text) else None
        if content and content.strip():
            parts = split(content, re.compile("[,;]"))[0]
            if len(parts) == 1:
                return inner(content) if opening + closing in ("()", "[]") else None
            if len(parts) == 2:
                opening, closing = opening.replace("]", "("), closing.replace("[", ")")
            elif opening + closing == "[]":
                opening, closing = "()"
            return Ordered(opening, tuple(inner(part) for part in parts), closing)
    return None


def _alone(text: str) -> bool:
    """Whether the first bracket of a text closes at its end, however round or square the two are."""
    depth = 0
    for place, sign in enumerate(text):
        escaped = place > 0 and text[place - 1] == "\\"
        depth += 0 if escaped else {"(": 1, "[": 1, ")": -1, "]": -1}.get(sign, 0) if 0 < place < len(text) - 1 else 0
        if depth < 0:
            return False
    return depth == 0


def _both_signs(text: str, inner: Reader) -> Form | None:
    if not re.search(r"\\(?:pm|mp)(?![a-zA-Z])", text):
        return None
    plus = re.sub(r"\\mp(?![a-zA-Z])", "-", re.sub(r"\\pm(?![a-zA-Z])", "+", text))
    minus = re.sub(r"\\mp(?![a-zA-Z])", "+", re.sub(r"\\pm(?![a-zA-Z])", "-", text))
    return Several((inner(plus), inner(minus)))


def _relations(text: str, inner: Reader) -> Form | None:
    sides, marks = split(text, RELATION)
    sides, marks = [side.strip() for side in sides], [mark.removeprefix("\\") for mark in marks]
    if marks and not sides[0] and marks[0] in ("=", "approx"):
        sides, marks = sides[1:], marks[1:]
        if not marks:
            return inner(sides[0])
    if not marks or not all(sides[1:]):
        return None
    statement = Statement(tuple(sides), tuple(marks))
    name, bare = NAME.fullmatch(sides[0]) or not sides[0], squeezed(sides[0])
    if set(marks) == {"in"}:
        return Named(bare, inner(sides[1]), statement) if name and len(sides) == 2 else statement
    if set(marks) <= {"=", "approx"}:
        last = NAME.fullmatch(sides[-1]) and not _constant(sides[-1])
        if last and len(sides) == 2 and "=" in marks and (not name or not re.fullmatch(SYMBOL, sides[0])):
            return statement if name else Named(squeezed(sides[1]), inner(sides[0]), statement)
        constant = [side for side in sides[1 if name else 0 :] if _constant(side)]
        if name and not _constant(sides[0]):
            return Named(bare, _chain(sides[1:], marks[1:], inner), statement)
        return _chain(sides, marks, inner) if len(constant) == len(sides) else statement
    return _bounds(sides, marks, inner, statement)


def _chain(sides: list[str], marks: list[str], inner: Reader) -> Form:
    """What equal sides say: the last of them, which equals all other constants; \\approx only rounds."""
    exact = sides[: marks.index("approx") + 1] if "approx" in marks else sides
    items = tuple(inner(side) for side in exact[:-1] if _constant(side))
    return Chain((*items, inner(exact[-1]))) if items else inner(exact[-1])


def _constant(text: str) -> bool:
    """Whether a text has no variable."""
    return not re.search(
        r"[a-zA-Z]", re.sub(r"\\text\{[^{}]*\}|(?<![a-zA-Z])[ei](?![a-zA-Z])", "", CONSTANTS.sub(" ", text))
    )


def _bounds(sides: list[str], marks: list[str], inner: Reader, statement: Statement) -> Form:
    """x>3, 3<x, >3, 1<x\\le2 and x\\ne3 as intervals of a name; else the statement."""
    names = [place for place, side in enumerate(sides) if not side or (NAME.fullmatch(side) and not _constant(side))]
    if len(names) != 1 or len(sides) > 3 or (len(sides) == 3 and names != [1]):
        return statement
    name, infinite = squeezed(sides[names[0]]), Value(r"\infty")
    if marks == ["ne"]:
        (point,) = (inner(side) for place, side in enumerate(sides) if place != names[0])
        pieces = Ordered("(", (Value(r"-\infty"), point), ")"), Ordered("(", (point, infinite), ")")
        return Named(name, Union(pieces), statement)
    below, above = ("(", Value(r"-\infty")), (infinite, ")")
    for place, mark in enumerate(marks):
        if mark not in ("<", ">", "le", "ge"):
            return statement
        least = (mark in ("<", "le")) != (place == names[0])  # the other side is the lower bound
        end = inner(sides[place + 1] if place == names[0] else sides[place])
        if least:
            below = ("[" if mark in ("le", "ge") else "(", end)
        else:
            above = (end, "]" if mark in ("le", "ge") else ")")
    if len(marks) == 2 and len({mark in ("<", "le") for mark in marks}) == 2:
        return statement  # 1<x>3
    return Named(name, Ordered(below[0], (below[1], above[0]), above[1]), statement)
