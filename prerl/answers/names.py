r"""Names of quantities in LaTeX: x, x_0, \dot{x}, AB, \angle ABC, f(x), dy/dx."""

import re

from prerl.answers.layout import ACCENTS, GREEK

LETTER = rf"(?:\\(?:{'|'.join(GREEK)}|hbar|ell)(?![a-zA-Z])\s*|[a-zA-Z])"
SUBSCRIPT = r"(?:_\s*(?:\{[^{}]*\}|\\text\{[^{}]*\}|\{[^{}]*\\text\{[^{}]*\}[^{}]*\}|[a-zA-Z\d]|\\[a-zA-Z]+))?"
SYMBOL = rf"(?:(?:\\(?:{'|'.join(ACCENTS)})\s*(?:\{{\s*{LETTER}\s*\}}|{LETTER})|{LETTER}){SUBSCRIPT}'*\s*)"
WORD = r"(?:\\text\{[^{}]*\}|[A-Za-z]{4,}|[A-Z]{2,4})"
ANGLE = r"(?:m\s*)?\\(?:angle|triangle|overline)\s*(?:\{[A-Z]{1,3}\}|[A-Z]{1,3})"
ARGUMENTS = r"(?:\^\s*\{-1\}\s*)?\(\s*(?:[a-zA-Z\d]+|\\[a-z]+)(?:\s*,\s*(?:[a-zA-Z\d]+))*\s*\)"
DERIVATIVE = rf"\\frac\s*\{{\s*(?:d|\\partial)\s*{SYMBOL}\}}\s*\{{\s*(?:d|\\partial)\s*{SYMBOL}\}}"
NAME = re.compile(rf"(?:{SYMBOL}(?:{ARGUMENTS})?|{WORD}(?:{ARGUMENTS})?|{ANGLE}|{DERIVATIVE})\s*")
