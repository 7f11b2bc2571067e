r"""Other spellings of a gold answer, made from its text alone: as LaTeX, in plain text, in decimals, and its own."""

import re
from collections.abc import Iterator
from fractions import Fraction

PLAIN = {
    r"\pi": "pi",
    r"\infty": "infinity",
    r"\cdot": "*",
    r"\cup": "∪",
    r"\leq": "<=",
    r"\le": "<=",
    r"\in": "∈",
    r"\pm": "±",
}
WORDS = "sin|cos|tan|cot|sec|csc|arcsin|log|ln|alpha|theta|omega|tau"


def spellings(gold: str) -> Iterator[tuple[str, str]]:
    """Kind and text of each."""
    yield "own", gold
    yield "own", f" {gold} ".replace("\\frac", "\\dfrac")
    yield "own", f"${gold}$"
    yield (
        "own",
        re.sub(r"(?<!\\)(?<![a-z])([=+,])(?!\\)", r" \1 ", gold) if not re.search(r"\d,\d{3}|e\+|\{,", gold) else gold,
    )
    bare = gold.replace("\\left", "").replace("\\right", "")
    yield "LaTeX", bare if bare != gold else re.sub(r"(?<!\\[a-zA-Z])\((.*)\)", r"\\left(\1\\right)", gold)
    yield "LaTeX", re.sub(r"\^([a-z\d])(?!\d)", r"^{\1}", gold)
    yield "LaTeX", rf"\boldsymbol{{{gold}}}" if not re.search(r"[{}\\]", gold) else gold
    if re.fullmatch(r"[a-zA-Z]{4,}", inner := re.sub(r"\\text\{([^{}]*)\}", r"\1", gold).strip("{}")):
        yield from (("plain", inner), ("LaTeX", rf"\text{{{inner}}}"), ("LaTeX", rf"\textbf{{{inner}}}"))
    if not re.search(r"\\(?:sin|cos|tan|sec)\s*\\frac|\\begin|\\text|_\{", gold):
        yield "plain", plain(gold)
    value = number(gold)
    if value is not None:
        yield from numbers(value)
        if value.denominator == 1 and not re.search(r"circ|text|mbox|\$", gold):
            yield from (("LaTeX", rf"{value}\text{{ cm}}"), ("LaTeX", rf"{value}\%"), ("LaTeX", f"\\${value}"))


def numbers(value: Fraction) -> Iterator[tuple[str, str]]:
    """Of a rational number."""
    sign, above, below = "-" if value < 0 else "", abs(value.numerator), value.denominator
    if below > 1:
        yield "plain", f"{sign}{above}/{below}"
        yield "plain", f"{sign}({above})/({below})"
        yield "LaTeX", rf"{sign}\frac{{{above}}}{{{below}}}"
        yield "LaTeX", rf"{sign}\dfrac{{{2 * above}}}{{{2 * below}}}"
    if 1 < below < above and below < 10**6:
        yield "plain", f"{sign}{above // below} {above % below}/{below}"
        yield "LaTeX", rf"{sign}{above // below}\frac{{{above % below}}}{{{below}}}"
    yield from (("decimal", text) for text in decimals(sign, above, below))
    if below == 1:
        yield from (("plain", f"{sign}{above}"), ("plain", f"{sign}{above:,}"), ("plain", f"{sign}{above}."))
        yield "LaTeX", f"{sign}{above:,}".replace(",", "{,}")
        yield "LaTeX", f"{sign}{above:,}".replace(",", ",\\!")
    exponent = len(str(above // below)) - 1 if above >= below else -len(str(below // above)) if above else 0
    mantissa = next(decimals("", *(abs(value) / Fraction(10) ** exponent).as_integer_ratio()), None)
    if mantissa and exponent and "\\" not in mantissa:
        yield "decimal", f"{sign}{mantissa}e{exponent}"
        yield "plain", f"{sign}{mantissa} * 10^{exponent}"
        yield "plain", f"{sign}{mantissa} × 10^{exponent}"
        yield "LaTeX", rf"{sign}{mantissa} \times 10^{{{exponent}}}"
        yield "LaTeX", rf"{sign}{mantissa}\cdot 10^{{{exponent}}}"


def decimals(sign: str, above: int, below: int) -> Iterator[str]:
    """The decimals of a fraction, recurring ones overlined if they are few."""
    digits, rest, seen = "", above % below, {}
    while rest and rest not in seen and len(digits) < 40:
        seen[rest] = len(digits)
        digits += str(rest * 10 // below)
        rest = rest * 10 % below
    if not rest:
        yield f"{sign}{above // below}.{digits or '0'}"
        if digits and above < below:
            yield f"{sign}.{digits}"
    elif rest in seen:
        yield f"{sign}{above // below}.{digits[: seen[rest]]}\\overline{{{digits[seen[rest] :]}}}"


def number(gold: str) -> Fraction | None:
    """The value of a number as the public sets write them, with its unit."""
    text = re.sub(r"\\(?:!|text\{.*\}|mbox\{.*\}(\^2)?|\$)|\^\\circ", "", gold).replace(" ", "").replace("{,}", ",")
    text = re.sub(r"^[a-zA-Z]=", "", text).replace("\\dfrac", "\\frac")
    text = text.replace(",", "") if re.fullmatch(r"-?\d{1,3}(,\d{3})+(\.\d+)?", text) else text
    if parts := re.fullmatch(r"(-?)(\d+)?\\frac(?:\{(\d+)\}|(\d))(?:\{(\d+)\}|(\d))", text):
        value = Fraction(int(parts[2] or 0)) + Fraction(int(parts[3] or parts[4]), int(parts[5] or parts[6]))
        return -value if parts[1] else value
    if parts := re.fullmatch(r"(-?\d+)\.?/(\d+)", text):
        return Fraction(int(parts[1]), int(parts[2]))
    return Fraction(text) if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e-?\d+)?", text) else None


def plain(gold: str) -> str:
    """Without LaTeX's commands and braces, as one types it."""
    text = (
        re.sub(r"\\(?:left|right|[,; ])|\\!\s*", "", gold.replace(r"^{\prime}", "'"))
        .replace("\\dfrac", "\\frac")
        .replace("\\{", "⟦")
        .replace("\\}", "⟧")
    )
    text = re.sub(r"\\frac\s*(\d)\s*(\d)(?!\d)", r"\\frac{\1}{\2}", re.sub(r"\\frac\s*(\d)\s*\{", r"\\frac{\1}{", text))
    text = re.sub(r"(\\frac\{\d+\})(\d)", r"\1{\2}", text)
    group = r"\{((?:[^{}]|\{[^{}]*\})*)\}"
    text = re.sub(r"\{\d+(,\d{3})+\}", lambda m: m[0].replace(",", ""), text)
    text = re.sub(r"(?<![a-z])d (?=[a-z\\])", "d", text)
    for _ in range(5):
        text = re.sub(rf"\\frac\s*{group}\s*{group}", _fraction, text)
        text = re.sub(rf"\\sqrt\s*{group}", r"sqrt(\1)", text)
        text = re.sub(r"\\sqrt\s*(\d)", r"sqrt(\1)", text)
    text = re.sub(r"\^\{(\w)\}", r"^\1", re.sub(r"([\^])\{([^{}]{2,})\}", r"\1(\2)", text))
    for command, word in PLAIN.items():
        text = re.sub(re.escape(command) + r"(?![a-z])", f" {word} ", text)
    text = re.sub(rf"\\({WORDS})(?![a-z])", r" \1 ", text)
    return " ".join(text.replace("⟦", "\\{").replace("⟧", "\\}").split())


def _fraction(match: re.Match) -> str:
    if re.fullmatch(r"d.*", match[1]) and re.fullmatch(r"d\w", match[2]):
        return f"{match[1]}/{match[2]}"
    above, below = (
        part if re.fullmatch(r"\w+", part) and (part.isdigit() or len(part) == 1) else f"({part})"
        for part in match.groups()
    )
    whole = f"{above}/{below}"
    before = match.string[: match.start()][-1:]
    after = match.string[match.end() :][:1]
    if before.isdigit() and above.isdigit() and below.isdigit():
        return f" {whole}"
    return whole if not (before.isalnum() or after.isalnum() or after in ("\\", "^") or before == ")") else f"({whole})"
