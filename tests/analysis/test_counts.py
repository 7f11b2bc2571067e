"""The one table that analyses read."""

import numpy as np
import pandas as pd
import pytest

from prerl.analysis.behaviour import Lexicon
from prerl.analysis.counts import count_responses, grid, on, read_counts
from prerl.analysis.scores import Estimator, pass_at, scores
from prerl.metrics import maj_at_k, pass_at_k

LEXICON = Lexicon(split="[.]", thoughts={"transition": "but"}, behaviours={"doubt": "perhaps"})
ROWS = pd.DataFrame(
    [  # of one problem the responses come in another order, between those of others
        ("one", "b", 1, 1.0, 7, True, 0.5, "5", "but. perhaps perhaps"),
        ("one", "a", 0, 0.0, 2, True, 0.25, "2", ""),
        ("one", "b", 0, 0.0, 3, False, 1.0, "4", "yes. but. no"),
        ("one", "a", 1, 0.0, 2, True, 0.25, "3", "perhaps"),
        ("one", "a", 2, 1.0, 4, False, 2.0, "5", "yes"),
        ("one", "b", 2, 1.0, 1, True, 0.0, "5", "but"),
        ("two", "a", 0, 1.0, 9, True, 0.1, "5", "yes"),
    ],
    columns=["benchmark", "problem", "sample", "score", "tokens", "finished", "entropy", "answer", "response"],
)


def test_responses_are_counted_by_problem_in_the_order_of_the_first(tmp_path):
    ROWS.to_parquet(tmp_path / "samples.parquet")
    counts = read_counts(tmp_path / "samples.parquet", LEXICON)
    assert counts.to_dict("list") == {
        "benchmark": ["one", "one", "two"],
        "problem": ["b", "a", "a"],
        "n": [3, 3, 1],
        "correct": [2, 1, 1],
        "tokens": [11, 8, 9],
        "finished": [2, 2, 1],
        "finished_tokens": [8, 4, 9],
        "transition": [3, 0, 0],
        "execution": [3, 2, 1],
        "doubt": [2, 1, 0],
        "nats": [6.5, 9.0, pytest.approx(0.9)],
        "majority": [1.0, pytest.approx(1 / 3), 1.0],
    }
    assert all(counts[name].dtype.kind == "i" for name in ("n", "correct", "tokens", "finished", "doubt"))
    plain = read_counts(tmp_path / "samples.parquet")
    assert plain.equals(counts.drop(columns=LEXICON.names))
    assert grid(on("one", {0: counts, 7: counts}), "correct").tolist() == [[1, 2], [1, 2]]  # a before b


def test_dev_evaluations_are_counted_by_step_without_votes():
    dev = pd.concat([ROWS.assign(step=step) for step in (0, 10)]).drop(columns="benchmark")
    counts = count_responses(dev)
    assert counts[["step", "problem", "n"]].to_numpy().tolist() == [
        [0, "b", 3],
        [0, "a", 4],
        [10, "b", 3],
        [10, "a", 4],
    ]
    assert "majority" not in counts


def test_counts_say_what_the_responses_say(study):
    """Against the plainest reading of a whole file."""
    path = study / "grpo/seed1/samples.parquet"
    counts = read_counts(path).set_index(["benchmark", "problem"])
    for key, rows in pd.read_parquet(path).groupby(["benchmark", "problem"]):
        found = counts.loc[key]
        assert (found.n, found.correct, found.tokens) == (len(rows), rows.score.sum(), rows.tokens.sum())
        assert found.nats == pytest.approx((rows.entropy * rows.tokens).sum())
        assert found.majority == maj_at_k(
            rows.answer.astype(object).where(rows.answer.notna(), None).tolist(), rows.score.tolist(), len(rows)
        )


def test_what_is_no_answer_has_no_vote(tmp_path):
    """Also as a file gives it back, as NaN."""
    rows = ROWS[ROWS.problem == "b"].assign(answer=[None, None, "x"], score=[0.0, 0.0, 1.0])
    rows.to_parquet(tmp_path / "samples.parquet")
    assert read_counts(tmp_path / "samples.parquet").majority.tolist() == [1.0]


@pytest.mark.parametrize(("n", "k"), [(1, 1), (8, 1), (8, 4), (8, 8), (256, 64)])
def test_pass_at_k_of_every_cell_is_that_of_its_count(n, k):
    right = np.random.default_rng(0).integers(0, n + 1, (3, 50)).astype(float)
    right[0, :2] = 0, n
    expected = [[pass_at_k(n, int(count), k) for count in row] for row in right]
    assert pass_at(k, right, n).tolist() == expected


def test_the_majority_is_a_score_where_it_is_known_of_every_method():
    counts = count_responses(ROWS)
    blind = counts.drop(columns="majority")

    def metrics(**tests):
        rows = pd.DataFrame(scores(tests, Estimator(20, np.random.default_rng(0)), ["one"]))
        return rows[rows.metric == "maj"].estimate.tolist()

    assert metrics(base={0: counts}) == [pytest.approx(2 / 3), 1.0]
    assert metrics(base={0: blind}, grpo={0: counts}) == []
