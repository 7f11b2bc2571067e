"""Responses summed over those to each problem: what a study's scores need, in a hundredth of the room."""

from pathlib import Path

import pandas as pd

from prerl.analysis.behaviour import Lexicon, read_responses

# Of an evaluation's response and of a dev response: what is summed over those to one problem.
COUNTED = {"score": "correct", "tokens": "tokens", "finished": "finished"}


def counts(path: Path, by: str, lexicon: Lexicon) -> pd.DataFrame:
    """A table of responses, summed over those to each problem of a benchmark or step (`by`): n, correct, tokens,
    finished, a column a behaviour; by step also the mean entropy in nats a token. Raises UserError if the table is
    missing or damaged, or some problems have fewer responses than others."""
    rows = read_responses(path, lexicon)
    rows = rows.assign(nats=rows.entropy * rows.tokens)
    groups = rows.groupby([by, "problem"], sort=False)
    sums = groups[[*COUNTED, *lexicon.names]].sum().rename(columns=COUNTED).astype(int)
    sums.insert(0, "n", groups.size())
    if by == "step":
        sums["entropy"] = groups.nats.sum() / sums.tokens
    return sums.reset_index()


def means(rows: pd.DataFrame) -> pd.DataFrame:
    """Sums over a problem's responses as means; the sum of right ones becomes the score."""
    sums = rows.columns.drop(["method", "seed", "step", "problem", "n", "entropy"], errors="ignore")
    return rows.assign(**rows[sums].div(rows.n, axis=0)).rename(columns={"correct": "score"})


def mean_dev(path: Path, lexicon: Lexicon) -> pd.DataFrame:
    """A run's dev.parquet as a row a step and problem: n, score (the share of right ones), tokens, finished and a
    column a behaviour, means over its responses; entropy in nats a token. `Baselines.dev` has these columns too."""
    return means(counts(path, "step", lexicon))
