"""What kinds of thoughts responses consist of, by lexicons that are data (workflow/lexicons).

The paper counts transition and reflection thoughts; its counting method is not published. We split a response into
thoughts and class each as reflection, transition or execution, as SEAL does (arXiv 2504.07986), and count four
behaviours of reasoners: verification, backtracking, subgoal setting, enumeration (arXiv 2503.01307). Needs no torch.
"""

import re
from functools import cache
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import field_validator

from prerl.settings.reading import check, read_yaml
from prerl.settings.values import Strict

EXECUTION = "execution"
Kind = Literal["reflection", "transition"]


class Lexicon(Strict):
    """Regular expressions, case ignored: where a response is split, what marks a thought, what marks a behaviour."""

    split: str
    thoughts: dict[Kind, str]  # the first that is found in a thought names it; otherwise it is execution
    behaviours: dict[str, str]

    @field_validator("split", "thoughts", "behaviours")
    @classmethod
    def _valid(cls, value: str | dict[str, str]) -> str | dict[str, str]:
        for pattern in value.values() if isinstance(value, dict) else [value]:
            try:
                if re.compile(pattern).search("") is not None:
                    raise ValueError(f"{pattern!r} matches the empty text")
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression ({error})") from error
        return value

    @property
    def names(self) -> list[str]:
        """The columns of `count`."""
        return [*self.thoughts, EXECUTION, *self.behaviours]


def load_lexicon(path: Path) -> Lexicon:
    """The lexicon in a YAML file. Raises UserError, in one line that names file and key, if it is none."""
    return check(Lexicon, read_yaml(path), str(path))


def thoughts(response: str, lexicon: Lexicon) -> list[tuple[str, str]]:
    """The thoughts of a response in order: (kind, text)."""
    return [(kind(part, lexicon), part) for part in split(response, lexicon)]


def split(response: str, lexicon: Lexicon) -> list[str]:
    """The texts of a response's thoughts in order."""
    return [part for part in re.split(lexicon.split, response, flags=re.IGNORECASE) if part.strip()]


def kind(thought: str, lexicon: Lexicon) -> str:
    """What kind of thought a text is: reflection, transition or execution."""
    for name, pattern in lexicon.thoughts.items():
        if re.search(pattern, thought.strip(), re.IGNORECASE):
            return name
    return EXECUTION


def count(responses: pd.Series, lexicon: Lexicon) -> pd.DataFrame:
    """Thoughts of each kind and occurrences of each behaviour in each response: a column each, the responses' index."""
    rows: dict[str, list[int]] = {}  # many responses are alike, and more so their thoughts
    known = cache(lambda thought: kind(thought, lexicon))
    for response in responses:
        if response not in rows:
            kinds = [known(thought) for thought in split(response, lexicon)]
            counts = [kinds.count(name) for name in (*lexicon.thoughts, EXECUTION)]
            found = [len(re.findall(p, response, re.IGNORECASE)) for p in lexicon.behaviours.values()]
            rows[response] = counts + found
    return pd.DataFrame([rows[response] for response in responses], index=responses.index, columns=lexicon.names)
