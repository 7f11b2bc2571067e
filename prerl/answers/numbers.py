r"""Numbers as they are written: their exact value, or None."""

import re
from fractions import Fraction

DIGITS = r"(?:\d+(?:\.\d*)?|\.\d+)"
PLAIN = re.compile(rf"[+-]?\s?{DIGITS}")
FRACTION = re.compile(
    rf"\\frac\s*(?:\{{\s*([+-]?{DIGITS})\s*\}}|(\d))\s*(?:\{{\s*([+-]?{DIGITS})\s*\}}|(\d))|([+-]?{DIGITS})\s?/\s?({DIGITS})"
)
MIXED = re.compile(r"(\d+)\s*(?:\\frac\s*(?:\{\s*(\d+)\s*\}|(\d))\s*(?:\{\s*(\d+)\s*\}|(\d))|(?<=\s)(\d+)/(\d+))")
POWER = r"(?:\{\s*([+-]?\d{1,3})\s*\}|\(\s*([+-]?\d{1,3})\s*\)|([+-]?\d{1,3}))"
SCIENTIFIC = re.compile(
    rf"({DIGITS})\s*(?:[eE]([+-]?\d{{1,3}})|(?:\\times|\\cdot|\*|x)\s*10\s*\^\s*{POWER})|10\s*\^\s*{POWER}"
)
RECURRING = re.compile(r"(\d*)\.(\d*)(?:\\(?:overline|bar)\s*(?:\{(\d+)\}|(\d))|\\dot\s*(?:\{(\d)\}|(\d))|\((\d+)\))")
BLANKS = re.compile(r"[1-9]\d{0,2}(?: \d{3})+(?:\.\d+)?")  # thousands parted by blanks


def number(text: str) -> Fraction | None:
    """The exact value of a plain integer, decimal or fraction of the two, of at most 30 digits a number; None if the
    text is something else."""
    return None if re.search(r"\d{31}", text) else _plain(text.strip())


def _plain(text: str) -> Fraction | None:
    if PLAIN.fullmatch(text):
        return Fraction(text.replace(" ", ""))
    sign, text = _signed(text)
    return _signs(sign, _fraction(FRACTION.fullmatch(text)))


def value(text: str) -> Fraction | None:
    r"""The exact value of a number however it is written, or None if the text is none: a plain integer, decimal or
    fraction, a mixed number (`2\frac{1}{2}`, `2 1/2`), scientific notation (`4.5e33`, `4.5 \times 10^{33}`), a
    recurring decimal (`0.1\overline{6}`, `0.1(6)`), or thousands parted by blanks."""
    found = _plain(text.strip())
    if found is not None:
        return found
    sign, text = _signed(text.strip())
    if parts := MIXED.fullmatch(text):
        whole, above, below = (
            Fraction(parts[1]),
            int(parts[2] or parts[3] or parts[6]),
            int(parts[4] or parts[5] or parts[7]),
        )
        return _signs(sign, whole + Fraction(above, below)) if above < below else None  # 3 5/2 is no number
    if parts := SCIENTIFIC.fullmatch(text):
        exponent = next(part for part in parts.groups()[1:] if part is not None)
        return _signs(sign, Fraction(parts[1] or 1) * Fraction(10) ** int(exponent))
    if parts := RECURRING.fullmatch(text):
        before, after, period = parts[1], parts[2], next(part for part in parts.groups()[2:] if part)
        scale = 10 ** len(after)
        recurring = Fraction(int(period), (10 ** len(period) - 1) * scale)
        return _signs(sign, Fraction(int(before + after or "0"), scale) + recurring)
    return _signs(sign, Fraction(text.replace(" ", "")) if BLANKS.fullmatch(text) else None)


def _fraction(parts: re.Match | None) -> Fraction | None:
    if parts is None:
        return None
    above, below = Fraction(parts[1] or parts[2] or parts[5]), Fraction(parts[3] or parts[4] or parts[6])
    return above / below if below else None


def _signed(text: str) -> tuple[str, str]:
    """The sign in front of a number, and the number."""
    return (text[0], text[1:].lstrip()) if text[:1] in ("+", "-") else ("", text)


def _signs(sign: str, found: Fraction | None) -> Fraction | None:
    return -found if found is not None and sign == "-" else found
