r"""The layout of an answer: one spelling for all that looks alike, in LaTeX and in plain text.

Nothing here changes what an answer says. What only arranges or decorates it goes (`\left`, `\,`, `\boldsymbol`), other
signs become commands (`√5` and `sqrt(5)`), and what public copies of problem sets have lost is put back where there is
one way to: a blank (`\cotx`), the second backslash between rows of a matrix, the \text of `{odd}`.
"""

import re
import unicodedata


def _list(words: str) -> list[str]:
    return words.split()


GREEK = _list(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi pi rho sigma tau "
    "upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
)
FUNCTIONS = _list(
    "sin cos tan cot sec csc arcsin arccos arctan arccot arcsec arccsc sinh cosh tanh coth sech csch ln log lg exp"
)
FONTS = _list("boldsymbol mathbf mathit mathsf mathtt mathcal mathnormal bm pmb underline emph ensuremath")
TEXTS = _list("text textbf textit textrm textsf texttt textnormal mathrm mbox hbox operatorname")
ACCENTS = _list("overline bar dot ddot hat widehat vec tilde overrightarrow")
RELATIONS = {
    "le": r"\\(?:leqslant|leq|le)(?![a-zA-Z])|<=",
    "ge": r"\\(?:geqslant|geq|ge)(?![a-zA-Z])|>=",
    "ne": r"\\(?:neq|ne)(?![a-zA-Z])|\\not\s*=|!=",
    "approx": r"\\(?:approx|simeq|sim|doteq)(?![a-zA-Z])",
}
OTHERS = _list(
    "frac dfrac tfrac cfrac binom dbinom tbinom sqrt left right big Big bigg Bigg bigl bigr Bigl Bigr displaystyle "
    "textstyle limits quad qquad phantom hspace begin end infty partial hbar ell prime angle measuredangle triangle "
    "circ degree textdegree cdot times div pm mp ast cup cap in notin setminus emptyset varnothing mathbb mid vert "
    "lvert rvert langle rangle lfloor rfloor lceil rceil ldots dots cdots leqslant leq le geqslant geq ge neq ne not "
    "approx simeq sim doteq lt gt odot oplus max min gcd lcm to rightarrow implies pmod bmod equiv color textcolor"
)
COMMANDS = {*GREEK, *FUNCTIONS, *FONTS, *TEXTS, *ACCENTS, *OTHERS}

SIGNS = {
    **dict.fromkeys("−–—‐‑", "-"),
    **dict.fromkeys("·⋅∙•", r"\cdot "),
    **dict.fromkeys("′’", "'"),
    "×": r"\times ",
    "÷": r"\div ",
    "⁄": "/",
    "∕": "/",
    "√": r"\sqrt ",
    "∛": r"\sqrt[3]",
    "∞": r"\infty ",
    "±": r"\pm ",
    "∓": r"\mp ",
    "≤": r"\le ",
    "≥": r"\ge ",
    "≠": r"\ne ",
    "≈": r"\approx ",
    "∪": r"\cup ",
    "∈": r"\in ",
    "∖": r"\setminus ",
    "°": r"^\circ ",
    "ℝ": r"\mathbb{R}",
    "∠": r"\angle ",
    "△": r"\triangle ",
    "⟨": r"\langle ",
    "⟩": r"\rangle ",
    "ℏ": r"\hbar ",
    "∂": r"\partial ",
}
RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱ", "0123456789+-()ni", strict=True))
LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋", "0123456789+-", strict=True))
WRAPPED = re.compile(r"\\text\{[^{}]*\}")
GROUPED = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?!\d|,\d)")


def tidy(text: str) -> str:
    """The answer in one spelling. Linear in its length but for the nesting of fonts."""
    text = _ascii("".join(letter for letter in text if letter.isprintable() or letter.isspace()))
    text = re.sub(r"(?<!\\)\$|\\[()\[\]](?=\s|$)|^\s*\\[(\[]", "", text)  # the signs around mathematics
    text = re.sub(r"\\([a-zA-Z]+)", _separated, text)
    text = re.sub(r"\\(?:begin|end)\{array\}(?:\{[lcr| ]*\})?", lambda m: m[0][: m[0].index("{")] + "{matrix}", text)
    text = re.sub(r"\\begin\{[bp]?matrix\}.*?\\end\{[bp]?matrix\}", _matrix, text, flags=re.DOTALL)
    text = re.sub(r"\\(?:left|right|[bB]igg?[lr]?)(?![a-zA-Z])\s*\.?", "", text)
    text = re.sub(
        r"\\(?:displaystyle|textstyle|limits|quad|qquad)(?![a-zA-Z])|\\(?:hspace|phantom)\{[^{}]*\}", " ", text
    )
    text = re.sub(r"\\phantom\s*[^a-zA-Z\\]|\\(?:text)?color\{[^{}]*\}", "", text)
    text = re.sub(r"(?<!\\)\\!\s*", "", text)
    text = re.sub(r"(?<=\d)\\[,;:]\s*(?=\d{3}(?!\d))", "", text)  # thousands parted by thin spaces
    text = re.sub(r"(?<!\\)\\(?:[,;:>]|\s)|~", " ", text)
    text = _fonts(text)
    whole = inside(text.strip()[5:], "{", "}") if text.strip().startswith("\\text{") else None
    text = whole if whole and re.search(r"\\[a-zA-Z{]", whole) else text  # mathematics in a font of words
    text = re.sub(r"\{,\}\s*", ",", text).replace("{}", "")
    text = re.sub(r"(?<![\\a-zA-Z}\]^_])\{([A-Za-z]{2,}[A-Za-z0-9 ]*|[A-Z]\d+)\}", r"\\text{\1}", text)
    parts = WRAPPED.split(text)
    kept = [*WRAPPED.findall(text), ""]
    text = "".join(_plain(part) + words for part, words in zip(parts, kept, strict=True))
    text = trimmed(_ungrouped(" ".join(text.split())))
    inner = inside(text, "{", "}")
    return text if inner is None else trimmed(inner)


def trimmed(text: str) -> str:
    """A text without the blanks and stops around it; a point before digits stays."""
    return re.sub(r"(?<!\.)\.$", "", text.strip(" ,;")).rstrip(" ,;")


def inside(text: str, opening: str, closing: str) -> str | None:
    """What stands between two brackets if the first one closes at the text's end, else None."""
    if not (text.startswith(opening) and text.endswith(closing)) or len(text) < len(opening) + len(closing):
        return None
    depth, place = 0, 0
    while place < len(text):
        if text.startswith(opening, place):
            depth, place = depth + 1, place + len(opening)
        elif text.startswith(closing, place):
            depth, place = depth - 1, place + len(closing)
            if depth == 0:
                return text[len(opening) : -len(closing)] if place == len(text) else None
        else:
            place += 2 if text[place] == "\\" else 1
    return None


def squeezed(text: str) -> str:
    """A text without its blanks, but for those between two digits, where they make another number."""
    return re.sub(r"(?<![\d.])\s+|\s+(?![\d.])", "", text)


def _ascii(text: str) -> str:
    """Superscripts, fractions and other signs as commands; what is left in its usual form."""
    text = re.sub(f"[{''.join(RAISED)}]+", lambda m: f"^{{{''.join(RAISED[sign] for sign in m[0])}}}", text)
    text = re.sub(f"[{''.join(LOWERED)}]+", lambda m: f"_{{{''.join(LOWERED[sign] for sign in m[0])}}}", text)
    return "".join(letter if letter.isascii() else _sign(letter) for letter in text)


def _sign(letter: str) -> str:
    if letter in SIGNS:
        return SIGNS[letter]
    usual = unicodedata.normalize("NFKC", letter)
    if fraction := re.fullmatch("(\\d+)\u2044(\\d+)", usual):
        return rf"\frac{{{fraction[1]}}}{{{fraction[2]}}}"
    greek = re.fullmatch(
        r"GREEK (SMALL|CAPITAL) LETTER ([A-Z]+)", unicodedata.name(usual, "") if len(usual) == 1 else ""
    )
    if greek:
        name = greek[2].lower().replace("lamda", "lambda")
        name = name if greek[1] == "SMALL" else name.capitalize()
        return f"\\{name} " if name in GREEK else letter
    return usual


def _separated(match: re.Match) -> str:
    """A command run together with what follows it (`\\cotx`), parted."""
    name = match[1]
    if name in COMMANDS:
        return match[0]
    known = next((name[:end] for end in range(len(name) - 1, 1, -1) if name[:end] in COMMANDS), None)
    return f"\\{known} {name[len(known) :]}" if known else match[0]


def _matrix(match: re.Match) -> str:
    """A matrix with two backslashes between rows, also where a copy has kept one."""
    text = re.sub(r"(?<!\\)\\(?![a-zA-Z\\,;:!{}])", r"\\\\ ", match[0])
    return re.sub(r"[bp]?matrix", "matrix", text)


def _fonts(text: str) -> str:
    r"""Without the fonts of mathematics; those of words all as \text, but for functions and e, i, d."""
    text = re.sub(rf"(?<![\\a-zA-Z])(?:{'|'.join(TEXTS[1:])}|normal)\{{", r"\\text{", text)  # a lost backslash
    text = re.sub(rf"\\(?:{'|'.join(TEXTS)})\s*\{{", r"\\text{", text)
    text = re.sub(rf"\\text\{{({'|'.join(FUNCTIONS)})\}}", r"\\\1 ", text)
    text = re.sub(r"\\text\{([eid])\}|\\text\{\s*(\\[$%]|[%€£])\s*\}", r"\1\2", text)
    for _ in range(4):
        text, done = re.subn(rf"\\(?:{'|'.join(FONTS)})\s*\{{([^{{}}]*)\}}", r"\1", text)
        if not done:
            break
    text = re.sub(rf"\\(?:{'|'.join(FONTS)})(?![a-zA-Z])", " ", text)
    return re.sub(r"\\text\{\s*\\text\{([^{}]*)\}\s*\}", r"\\text{\1}", text)


def _plain(text: str) -> str:
    """Plain spellings of commands as the commands; synonyms as one."""
    text = re.sub(r"(?<![a-zA-Z\\])(?:np|numpy|math)\.(?=[a-z])", "", text)
    for name, spellings in RELATIONS.items():
        text = re.sub(spellings, rf"\\{name} ", text)
    text = re.sub(r"\\lt(?![a-zA-Z])", "<", re.sub(r"\\gt(?![a-zA-Z])", ">", text))
    text = re.sub(r"\\[dtc]frac(?![a-zA-Z])", r"\\frac", re.sub(r"\\[dt]binom(?![a-zA-Z])", r"\\binom", text))
    words = "|".join(sorted((*FUNCTIONS, *GREEK, "sqrt", "infty"), key=len, reverse=True))
    text = re.sub(r"(?<!\\)sqrt(?=\s*[({\d])", r"\\sqrt ", text)
    text = re.sub(
        rf"(?<![a-zA-Z\\])({words})(?![a-zA-Z])", r"\\\1 ", re.sub(r"(?<![a-zA-Z\\])infinity\b", "infty", text)
    )
    text = re.sub(r"\\text(?:degree)|\^\s*\{?\s*(?:\\circ|\\degree|o)\s*\}?|\\degree(?![a-zA-Z])", r"\\degree ", text)
    text = re.sub(r"\^\s*\{?\s*((?:\\prime\s*)+)\}?", lambda m: "'" * m[1].count("prime"), text)
    text = re.sub(r"\\(?:l|r)?vert(?![a-zA-Z])|\\mid(?![a-zA-Z])", "|", text)
    return text.replace("**", "^")


def _ungrouped(text: str) -> str:
    """Without the commas of thousands; inside brackets a comma parts coordinates."""

    def without(match: re.Match) -> str:
        before = text[: match.start()]
        depth = sum(before.count(sign) for sign in "([") - sum(before.count(sign) for sign in ")]")
        depth += before.count("\\{") - before.count("\\}")
        return match[0] if depth else match[0].replace(",", "")

    return GROUPED.sub(without, text)
