r"""Units and what else may follow or precede an amount without changing it, and the words that do change it.

A unit may be left out: 5 is `5 \text{ cm}`, `\$18` is 18, `50\%` is 50 (and not 0.5) and `90^\circ` is 90. Two
different units are two different answers. A noun that is no unit (`12 \text{ apples}`) is a remark. A word of quantity
counts (`12 million`), and a word that says something about the amount (`5 \text{ or less}`) makes it no plain amount.
"""

import re

from prerl.answers.layout import FUNCTIONS, tidy

NAMES = """
metre: m meter; centimetre: cm centimeter; millimetre: mm millimeter; kilometre: km kilometer; micrometre: um micron
nanometre: nm nanometer; decimetre: dm decimeter; inch: inch inche in; foot: ft foot feet; yard: yd yard; mile: mi mile
gram: g gm gramme; kilogram: kg kilo kilogramme; milligram: mg; tonne: ton; pound: lb lbs; ounce: oz; newton: N
second: s sec; millisecond: ms; microsecond: us; nanosecond: ns; minute: min; hour: h hr; day; week: wk; month
year: yr; decade; century; litre: l L liter; millilitre: ml mL milliliter; gallon: gal; quart: qt; pint: pt
joule: J; kilojoule: kJ; calorie: cal; kilocalorie: kcal; watt: W; kilowatt: kW; volt: V; ampere: amp; ohm
hertz: Hz; kilohertz: kHz; megahertz: MHz; kelvin: K; pascal: Pa; kilopascal: kPa; atmosphere: atm; tesla; coulomb
electronvolt: eV; mole: mol; radian: rad; degree: deg; degree celsius: celsius; degree fahrenheit: fahrenheit
percent: pct; dollar: usd; cent; euro: eur; rupee: rs; penny: pence; acre; hectare: ha; byte; knot; au; erg
angstrom; parsec: pc; lightyear; morning: am; afternoon: pm; mile/hour: mph; kilometre/hour: kph kmh
"""
QUANTITIES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
REMARKS = """
or and not no to than more less least most fewer about around approximately roughly nearly almost over under below
above between through up down if when where unless except for all any every some none but only plus minus times
divided by squared cubed factorial mod modulo remainder base negative positive half halves third thirds fourth
fourths quarter quarters fifth fifths sixth sixths eighth eighths tenth tenths hundredth hundredths thousandth
thousandths millionth millionths score gross lakh crore quadrillion infinity infinite solution solutions
undefined false wrong is are was be equals equal greater smaller larger root roots real complex imaginary
"""
CURRENCY = {"\\$": "dollar", "€": "euro", "£": "pound sterling", "¥": "yen", "₹": "rupee"}
SIGN = "|".join(re.escape(sign) for sign in CURRENCY)
EXPONENT = r"(?:\s*\^\s*(?:\{\s*(-?\d)\s*\}|(-?\d)))?"
TAIL = re.compile(rf"(?:\s*(?:\\cdot|/|\*)?\s*\\text\{{[^{{}}]*\}}{EXPONENT})+$")
WORDS = re.compile(rf"(?<=[\d}}).])\s*[a-zA-Z][a-zA-Z .]*(?:/\s*[a-zA-Z]+)?{EXPONENT}$")
JOINED = re.compile(r"(?:[cmk]m|[mk]g|ml|mph|km/h|lbs?|ft)(?![a-zA-Z])")  # no products of symbols, without a blank too
FUNCTION = re.compile(rf"\\(?:{'|'.join(FUNCTIONS)})(?![a-zA-Z])")
TOKEN = re.compile(rf"([a-zA-Z]+)\.?{EXPONENT}|(/)|(-|\\cdot|\*)|(.)")


def _names() -> dict[str, str]:
    found = {}
    for entry in NAMES.replace("\n", ";").split(";"):
        name, _, others = entry.strip().partition(":")
        found |= dict.fromkeys([name.strip(), *others.split()], name.strip())
    return found


UNITS = _names()
CHANGING = frozenset(REMARKS.split())


def parted(text: str) -> tuple[str, int, str | None]:
    """An amount, what a word of quantity multiplies it with, and its unit: "" without one, None for another noun."""
    text, unit = text.strip(), ""
    if match := re.match(rf"([+-]?)\s*({SIGN})\s*", text):
        text, unit = match[1] + text[match.end() :], CURRENCY[match[2]]
    match = re.search(rf"\s*(?:(\\?%)|\\degree\s*(C|F|\\text\{{\s*[CF]\s*\}})?|({SIGN}))$", text)
    if match and not ("degree" in match[0] and FUNCTION.search(text)):  # the sine of 30 degrees is no amount of them
        kind = "percent" if match[1] else CURRENCY[match[3]] if match[3] else "degree"
        if match[2]:
            kind += " celsius" if "C" in match[2] else " fahrenheit"
        return text[: match.start()].strip(), 1, unit or kind
    for pattern, wrapped in ((TAIL, True), (WORDS, False)):
        match = pattern.search(text)
        if match is None or not (rest := text[: match.start()].strip()):
            continue
        if not wrapped and not match[0][0].isspace() and not JOINED.match(match[0]):
            continue
        if (found := _read(match[0], wrapped)) is not None:
            return rest, found[0], unit or found[1]
    return text, 1, unit


def compatible(first: str | None, second: str | None) -> bool:
    """Whether two units may be meant alike: one is not said, or is no unit, or they are the same."""
    if not first or not second:
        return True
    return first == second or first.startswith(f"{second} ") or second.startswith(f"{first} ")


def _read(text: str, wrapped: bool) -> tuple[int, str | None] | None:
    """The factor and the unit that words after an amount say; None if they say something else. Without \\text, words
    of one to three letters may be products of symbols, unless they are units of more than one letter."""
    text = re.sub(r"\^\s*\{\s*(-?\d)\s*\}", r"^\1", text).replace("\\text", "")
    text = re.sub(r"\b([ap])\.\s*m\b", r"\1m", re.sub(r"[{}~]", " ", text)).strip().rstrip(".")
    factor, below, power, known = 1, 1, 1, True
    powers: dict[str, int] = {}
    for word, braced, exponent, slash, _, other in TOKEN.findall(text):
        lower = word.lower()
        if other.strip() or lower in CHANGING:
            return None
        if slash or lower == "per":
            below = -1
        elif lower in QUANTITIES and not powers:
            factor *= QUANTITIES[lower]
        elif lower in ("square", "sq", "cubic", "cu"):
            power = 2 if lower.startswith("sq") else 3
        elif word:
            name = _unit(word)
            if name is None and len(word) < (2 if wrapped else 4):
                return None
            if not wrapped and len(word) == 1 and "/" not in text:  # 5 m is a product, 5 m/s is not
                return None
            known = known and name is not None
            if (name or "").startswith("degree "):
                powers.pop("degree", None)
            for part, sign in zip((name or "").split("/"), (1, -1), strict=False):
                powers[part] = powers.get(part, 0) + sign * below * power * int(braced or exponent or 1)
            power = 1
    if not known:
        return factor, None
    return factor, " ".join(f"{name}^{power}" if power != 1 else name for name, power in sorted(powers.items()))


def _unit(word: str) -> str | None:
    """The unit of a name, whether singular or plural, in capitals or not."""
    lower = word.lower()
    names = [word, lower, lower.removesuffix("s"), lower.removesuffix("es")] if len(word) > 1 else [word]
    return next((UNITS[name] for name in names if name in UNITS), None)


def normal(text: str) -> str:
    """An answer without what does not change its meaning: its layout, currency, per cent sign or unit."""
    return parted(tidy(text))[0]
