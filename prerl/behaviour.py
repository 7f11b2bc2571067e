"""Counts of the words that mark transition and reflection thoughts (the paper's behaviours; its counting method is not
published, so the lexicons are data files of ours)."""

import re
from pathlib import Path

import pandas as pd

from prerl.config import read_yaml
from prerl.errors import UserError


def load_lexicon(path: Path) -> dict[str, re.Pattern[str]]:
    """Behaviour -> pattern that matches any of its words. Raises UserError unless it maps names to lists of words."""
    lexicon = read_yaml(path)
    for behaviour, words in lexicon.items():
        if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
            raise UserError(f"{path}: {behaviour}: expected a list of words (quote what YAML reads otherwise)")
    return {
        behaviour: re.compile(r"\b(?:" + "|".join(map(re.escape, words)) + r")\b", re.IGNORECASE)
        for behaviour, words in lexicon.items()
    }


def count(responses: pd.Series, lexicon: dict[str, re.Pattern[str]]) -> pd.DataFrame:
    """Occurrences of each behaviour's words in each response: a column a behaviour, the responses' index."""
    return pd.DataFrame({behaviour: responses.str.count(pattern) for behaviour, pattern in lexicon.items()})
