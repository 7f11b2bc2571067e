"""Scores: what may be compared, and what their intervals depend on."""

import shutil

import numpy as np
import pandas as pd
import pytest

from prerl.analysis.behaviour import load_lexicon
from prerl.analysis.scores import IN_DOMAIN, Estimator, by_benchmark, comparisons, scores, spreads
from prerl.analysis.summary import summarize
from prerl.errors import UserError
from tests.study import LEXICON, few_resamples


def without(path, **where):
    """Drops the first row of a table with these values."""
    table = pd.read_parquet(path)
    chosen = table
    for column, value in where.items():
        chosen = chosen[chosen[column] == value]
    table.drop(chosen.index[0]).to_parquet(path)


@pytest.mark.parametrize(
    ("name", "where", "message"),
    [
        ("grpo/seed1/samples", {"benchmark": "countdown", "problem": "p3"}, "countdown: problem p3 has 3 resp.*s 4"),
        (
            "base/seed0/samples",
            {"benchmark": "countdown-hard", "problem": "p0"},
            "countdown-hard: problem p0 has 7 resp",
        ),
        ("grpo/seed0/dev", {"step": 10, "problem": "p9"}, "step 10: problem p9 has 3 responses, others 4"),
    ],
)
def test_a_problem_with_fewer_responses_is_refused(study, tmp_path, methods, name, where, message):
    copy = tmp_path / "made-up"
    shutil.copytree(study, copy)
    without(copy / f"{name}.parquet", **where)
    with pytest.raises(UserError, match=rf"{name}\.parquet: {message}") as error:
        summarize(few_resamples(), {"grpo": methods["grpo"]}, load_lexicon(LEXICON), copy, tmp_path / "summary")
    assert "\n" not in str(error.value) and "delete" in str(error.value)


def test_runs_with_other_numbers_of_responses_are_not_compared(study, tmp_path, methods):
    """Each alike in itself: a whole run with half of the responses, and one tested on fewer dev problems."""
    for name, part, message in (
        ("grpo/seed1/samples", lambda rows: rows["sample"] < 2, "2 responses to problem p0 of benchmark countdown, 4"),
        ("grpo/seed1/dev", lambda rows: rows.problem != "p7", "0 responses to problem p7 of step 0, 4 in grpo/seed0"),
    ):
        copy = tmp_path / name
        shutil.copytree(study, copy)
        rows = pd.read_parquet(copy / f"{name}.parquet")
        rows[part(rows)].to_parquet(copy / f"{name}.parquet")
        with pytest.raises(UserError, match=message):
            summarize(few_resamples(), {"grpo": methods["grpo"]}, load_lexicon(LEXICON), copy, tmp_path / "summary")


def test_runs_on_other_problems_are_not_compared(study, tmp_path, methods):
    other = tmp_path / "made-up"
    shutil.copytree(study, other)
    path = other / "grpo/seed1/samples.parquet"
    pd.read_parquet(path).replace({"problem": {"p3": "q3"}}).to_parquet(path)
    with pytest.raises(
        UserError, match=r"grpo/seed1/samples\.parquet: 0 .* p3 of benchmark countdown, 4 in base/seed0"
    ) as error:
        summarize(few_resamples(), {"grpo": methods["grpo"]}, load_lexicon(LEXICON), other, tmp_path / "summary")
    assert "\n" not in str(error.value)


def test_scores_of_unequal_numbers_are_refused_in_memory_too():
    counts = pd.DataFrame({"benchmark": "one", "problem": ["a", "b"], "n": [2, 1], "correct": [2, 1]})
    with pytest.raises(UserError, match="one: 1 to 2 responses a problem"):
        list(by_benchmark({0: counts}))


def test_a_task_with_one_response_a_problem_has_scores_and_no_spread():
    one = pd.DataFrame({"benchmark": "one", "problem": ["a", "b", "c"], "n": 1, "correct": [1, 0, 1]})
    two = one.assign(benchmark="two", n=2, correct=[2, 0, 2])
    tests = {"base": {0: pd.concat([one, two])}}
    estimate = Estimator(10, np.random.default_rng(0))
    assert {row["benchmark"] for row in scores(tests, estimate, ["one"])} == {"one", "two"}
    assert [row["benchmark"] for row in spreads(tests, estimate)] == ["two"]


@pytest.mark.slow
def test_another_method_moves_no_interval_of_the_others(study, tmp_path, methods):
    """Nor does another order of the methods."""
    tables = {}
    for names in (("grpo", "dsrl"), ("nsr-prerl", "dsrl", "grpo")):
        out = tmp_path / names[0]
        summarize(few_resamples(), {name: methods[name] for name in names}, load_lexicon(LEXICON), study, out)
        for path in sorted(out.glob("*.parquet")):
            table = pd.read_parquet(path)
            if "method" in table:
                table = table[table.method.isin(["base", "grpo", "dsrl"])]
                table = table.sort_values(["method", *[n for n in ("reference",) if n in table]], kind="stable")
            tables.setdefault(path.stem, []).append(table.reset_index(drop=True))
    assert {"scores", "comparisons", "spread", "behaviour", "changes", "speeds", "curves", "alignment"} <= set(tables)
    for name, (one, other) in tables.items():
        assert len(one), name
        pd.testing.assert_frame_equal(one, other)


def test_streams_of_random_numbers_go_by_names_and_seed():
    def drawn(estimate):
        return estimate.rng.random()

    first, again, other = (Estimator(5, np.random.default_rng(seed)) for seed in (0, 0, 1))
    again.rng.random(100)
    values = [drawn(first.of("scores")), drawn(first.of("scores", "grpo")), drawn(first.of("scores").of("grpo"))]
    assert values == [
        drawn(again.of("scores")),
        drawn(again.of("scores", "grpo")),
        drawn(again.of("scores").of("grpo")),
    ]
    assert len({*values, drawn(other.of("scores")), drawn(first.of("versus"))}) == 5


def test_the_mean_over_benchmarks_gives_each_the_same_weight():
    """Ten problems that are all solved and ninety of which a third are: the mean is 2/3, not that of all problems."""

    def counts(solved, benchmark, problems, n=6):
        names = [f"p{p}" for p in range(problems)]
        return pd.DataFrame({"benchmark": benchmark, "problem": names, "n": n, "correct": round(solved * n)})

    def run(small, large):
        return {seed: pd.concat([counts(small, "small", 10), counts(large, "large", 90)]) for seed in (0, 1)}

    tests = {"base": {0: run(1 / 2, 0)[0]}, "grpo": run(1, 1 / 3), "dsrl": run(1, 2 / 3)}
    estimate = Estimator(200, np.random.default_rng(0))
    averages = pd.DataFrame(scores(tests, estimate, ["small", "large"])).query("benchmark == @IN_DOMAIN")
    assert averages.set_index("method").estimate.to_dict() == pytest.approx(
        {"base": 1 / 4, "grpo": 2 / 3, "dsrl": 5 / 6}
    )
    assert (averages.problems == 100).all()
    compared = pd.DataFrame(comparisons(tests, estimate, ["small", "large"])).query("benchmark == @IN_DOMAIN")
    found = compared[compared.metric == "avg"].set_index(["method", "reference"]).estimate
    assert found["dsrl", "grpo"] == pytest.approx(1 / 6) and found["grpo", "base"] == pytest.approx(5 / 12)
    solved = compared[compared.metric == "pass"].set_index(["method", "reference"])
    assert solved.estimate["dsrl", "base"] == pytest.approx(1 / 2) and solved.k["dsrl", "base"] == 6
    alone = pd.DataFrame(scores(tests, estimate, ["small"]))
    assert IN_DOMAIN not in set(alone.benchmark)


def test_only_who_a_claim_names_is_compared_with_a_further_reference():
    run = {0: pd.DataFrame({"benchmark": "one", "problem": ["a", "b"], "n": 2, "correct": [1, 2]})}
    tests = dict.fromkeys(["base", "grpo", "prerl", "dsrl", "nsr-rl-grpo"], run)
    rows = pd.DataFrame(comparisons(tests, Estimator(40, np.random.default_rng(0)), ["one"]))
    assert set(rows[rows.reference == "nsr-rl-grpo"].method) == {"dsrl"}
    assert set(rows[rows.reference == "grpo"].method) == {"prerl", "dsrl", "nsr-rl-grpo"}
