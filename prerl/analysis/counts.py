"""What analyses read: responses counted by problem. Needs no torch.

Fresh runs are counted once, when their table of responses is read, which takes a hundredth of its room; baselines are
committed as counts. So both take one road into `prerl summarize` and `prerl compare`.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from prerl.analysis.behaviour import Lexicon, count
from prerl.errors import UserError
from prerl.files.checksums import read_table
from prerl.metrics import Array, maj_at_k

# A row a problem of a benchmark (or, along training, of a step):
#   benchmark (or step), problem
#   n          responses
#   correct    of these
#   tokens     of all of them together
#   finished   responses that ended by themselves
#   finished_tokens  of these together; baselines from before it was counted have none
#   nats       the entropies of all tokens, summed; test benchmarks of baselines have none
#   BEHAVIOUR  occurrences in all of them together: a column a kind of thought and a behaviour, as in the lexicon
#   majority   maj@n, from 0 to 1; of test benchmarks whose single answers are known, so of no baseline
Counts = pd.DataFrame
Runs = dict[int, Counts]  # by seed
AllRuns = dict[str, Runs]  # by method

SUMMED = {
    "score": "correct",
    "tokens": "tokens",
    "finished": "finished",
    "finished_tokens": "finished_tokens",
}  # of responses: column -> what its sum is


def read_counts(path: Path, lexicon: Lexicon | None = None) -> Counts:
    """The counts of a table of responses that a stage wrote; without a lexicon, of no behaviour. Raises UserError if it
    is missing or damaged, or if one problem of a benchmark, or of a dev evaluation, has fewer responses than another.
    """
    rows = read_table(path)
    if lexicon:
        rows = rows.join(count(rows.response, lexicon))
    table = count_responses(rows, lexicon.names if lexicon else ())
    by = by_column(table)
    for name, part in table.groupby(by, sort=False):
        sizes = part.set_index("problem")["n"]
        if sizes.min() < sizes.max():
            where = name if by == "benchmark" else f"step {name}"
            raise UserError(
                f"{path}: {where}: problem {sizes.idxmin()} has {sizes.min()} responses, others {sizes.max()}: "
                f"scores would not be comparable; delete {path.name} and run again"
            )
    return table


def count_responses(rows: pd.DataFrame, behaviours: Sequence[str] = ()) -> Counts:
    """The counts of responses: benchmark (or step), problem, score (0 or 1), tokens, finished, entropy in nats
    a token, answer, and occurrences of the named behaviours. Problems come in the order of their first response."""
    by = by_column(rows)
    rows = rows.assign(nats=rows["entropy"] * rows["tokens"], finished_tokens=rows["tokens"] * rows["finished"])
    table = rows.groupby([by, "problem"])[[*SUMMED, *behaviours, "nats"]].sum().rename(columns=SUMMED)
    table = table.astype(dict.fromkeys([*SUMMED.values(), *behaviours], int))
    table.insert(0, "n", rows.groupby([by, "problem"]).size())
    if by == "benchmark" and "answer" in rows:
        groups = rows.groupby([by, "problem"])
        votes = {key: _majority(one) for key, one in groups}
        table["majority"] = pd.Series(votes)
    first = rows[[by, "problem"]].drop_duplicates()
    return first.merge(table.reset_index(), on=[by, "problem"], how="left")


def _majority(rows: pd.DataFrame) -> float:
    """maj@n of the responses to one problem. pandas reads what was no answer as NaN, which would get a vote."""
    answers = [None if pd.isna(answer) else answer for answer in rows["answer"]]
    return maj_at_k(answers, rows["score"].tolist(), len(rows))


def by_column(table: pd.DataFrame) -> str:
    """What a table of tests, or of evaluations along training, has a part for each value of."""
    return "benchmark" if "benchmark" in table else "step"


def on(benchmark: str, runs: Runs) -> Runs:
    """The runs' counts on one benchmark."""
    return {seed: run.loc[run["benchmark"] == benchmark] for seed, run in runs.items()}


def grid(runs: Runs, column: str) -> Array:
    """(seeds, problems) of a column of runs on one benchmark or at one step each; problems in a fixed order."""
    # Without pandas' index, which takes ten times as long; a summary asks some thousand times.
    names = [run["problem"].to_numpy(dtype=object) for run in runs.values()]
    orders = [np.argsort(name, kind="stable") for name in names]
    if any(not np.array_equal(name[order], names[0][orders[0]]) for name, order in zip(names, orders, strict=True)):
        raise RuntimeError("runs to be compared were not evaluated on the same problems")
    values = (run[column].to_numpy(dtype=float) for run in runs.values())
    return np.array([value[order] for value, order in zip(values, orders, strict=True)])
