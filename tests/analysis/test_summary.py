import numpy as np
import pandas as pd
import pytest

from prerl.analysis.behaviour import load_lexicon
from prerl.analysis.claims import CLAIMS
from prerl.analysis.curves import crossing
from prerl.analysis.summary import summarize
from prerl.metrics import bayes_interval, maj_at_k, pass_at_k, spread
from tests.study import LEXICON, few_resamples, read


def test_scores_are_those_of_the_samples(study):
    table = read(study, "scores")
    assert list(dict.fromkeys(table.method)) == ["base", "grpo", "nsr-prerl", "dsrl"]
    rows = pd.concat(pd.read_parquet(study / f"grpo/seed{seed}/samples.parquet") for seed in (0, 1))
    rows = rows[rows.benchmark == "countdown-hard"]
    row = table[(table.method == "grpo") & (table.benchmark == "countdown-hard")].set_index(["metric", "k"])
    average = row.loc[("avg", 8)]
    assert average.estimate == pytest.approx(rows.score.mean()) and (average.n, average.seeds) == (8, 2)
    assert average.low < average.estimate < average.high and average.problems == 20
    seed0 = pd.read_parquet(study / "grpo/seed0/samples.parquet").query("benchmark == 'countdown-hard'")
    seed1 = pd.read_parquet(study / "grpo/seed1/samples.parquet").query("benchmark == 'countdown-hard'")
    solved = [pass_at_k(8, int(c), 4) for run in (seed0, seed1) for c in run.groupby("problem").score.sum()]
    assert row.loc[("pass", 4)].estimate == pytest.approx(np.mean(solved))
    assert row.loc[("pass", 1)].estimate == pytest.approx(average.estimate)
    assert [k for metric, k in row.index if metric == "pass"] == [1, 2, 4, 8]


def shares(study, method, benchmark, n):
    """Shares of right responses (seeds, problems), straight from the files."""
    runs = [study / f"{method}/seed{seed}" for seed in (0, 1)]
    tables = [pd.read_parquet(run / "samples.parquet").set_index("benchmark").loc[benchmark] for run in runs]
    return np.array([table.groupby("problem").score.sum() for table in tables]) / n


def test_scores_count_problems_solved_by_every_response_and_the_posterior_of_samples(study):
    rows = read(study, "scores").query("method == 'grpo' and benchmark == 'countdown'").set_index("metric")
    share = shares(study, "grpo", "countdown", 4)
    assert rows.estimate["solved"] == pytest.approx((share == 1).mean())
    votes = [
        maj_at_k(group.answer.tolist(), group.score.tolist(), 4)
        for seed in (0, 1)
        for _, group in pd.read_parquet(study / f"grpo/seed{seed}/samples.parquet")
        .query("benchmark == 'countdown'")
        .groupby("problem")
    ]
    assert rows.estimate["maj"] == pytest.approx(np.mean(votes)) and rows.k["maj"] == 4
    low, high = bayes_interval(share * 4, 4)
    assert (rows.bayes_low["avg"], rows.bayes_high["avg"]) == pytest.approx((low, high))


def test_comparisons_are_paired_differences_to_base_and_grpo(study):
    rows = read(study, "comparisons")
    assert set(zip(rows.method, rows.reference, strict=True)) == {
        ("grpo", "base"), ("nsr-prerl", "base"), ("dsrl", "base"), ("nsr-prerl", "grpo"), ("dsrl", "grpo"),
    }  # fmt: skip
    for reference in ("base", "grpo"):
        row = rows.query(
            "method == 'dsrl' and reference == @reference and benchmark == 'countdown-hard' and metric == 'avg'"
        ).iloc[0]
        first, second = (shares(study, method, "countdown-hard", 8) for method in ("dsrl", reference))
        assert row.estimate == pytest.approx(first.mean() - second.mean()) and (row.n, row.seeds) == (8, 2)
        assert row.low < row.estimate < row.high
    solved = rows.query("method == 'dsrl' and reference == 'base' and benchmark == 'countdown' and metric == 'pass'")
    first, second = (shares(study, method, "countdown", 4) > 0 for method in ("dsrl", "base"))
    assert solved.estimate.item() == pytest.approx(first.mean() - second.mean()) and solved.k.item() == 4


def test_spread_by_source(study):
    rows = read(study, "spread").query("benchmark == 'countdown-hard'").set_index(["method", "reference"])
    right = {method: shares(study, method, "countdown-hard", 8) * 8 for method in ("grpo", "base")}
    for method, one in right.items():
        expected = spread(one, 8)
        assert rows.loc[(method, ""), list(expected)].astype(float).to_dict() == pytest.approx(expected)
    expected = spread(right["base"], 8, right["grpo"])
    assert rows.loc[("base", "grpo"), list(expected)].astype(float).to_dict() == pytest.approx(expected)
    assert ("grpo", "grpo") not in rows.index and rows.problems[("base", "")] == 20


def test_behaviour_rates_are_counts_over_responses_tokens_and_thoughts(study):
    def words(method):
        tables = [pd.read_parquet(study / f"{method}/seed{seed}/samples.parquet") for seed in (0, 1)]
        rows = pd.concat(tables).query("benchmark == 'countdown'")
        return rows.response.str.count(r"but try|alternatively").sum(), rows

    found, rows = words("base")
    transitions = read(study, "behaviour").query("benchmark == 'countdown' and behaviour == 'transition'")
    table = transitions[transitions.method == "base"].set_index("per")
    assert table.estimate["response"] == pytest.approx(found / len(rows))
    assert table.estimate["1k tokens"] == pytest.approx(1000 * found / rows.tokens.sum())
    parts = sum(
        len([part for part in text.replace(" answer", " .answer").split(" .") if part]) for text in rows.response
    )
    assert table.estimate["thought"] == pytest.approx(found / parts)
    table = transitions[transitions.method == "dsrl"].set_index("per")
    more, its = words("dsrl")
    assert table.ratio["response"] == pytest.approx(more / len(its) / (found / len(rows)))
    assert table.base_count["response"] == found and bool(table.few["response"]) == (found < 20)
    assert table.ratio_low["response"] < table.ratio["response"] < table.ratio_high["response"]


def test_a_stopped_run_keeps_its_last_values_on_the_curve(study):
    curves, seeds = read(study, "curves"), read(study, "seeds")
    accuracy = curves[(curves.method == "nsr-prerl") & (curves.quantity == "accuracy")].set_index("step")
    assert accuracy.index.tolist() == [0, 5, 10, 15, 20]
    assert accuracy.estimate[10] == accuracy.estimate[15] == accuracy.estimate[20] == 0
    dev = pd.read_parquet(study / "grpo/seed1/dev.parquet")
    row = seeds.query("method == 'grpo' and quantity == 'accuracy' and seed == 1 and step == 15")
    assert row.estimate.item() == pytest.approx(dev[dev.step == 15].score.mean())
    entropy = curves.query("method == 'dsrl' and quantity == 'entropy' and step == 0").estimate.item()
    both = pd.concat(pd.read_parquet(study / f"dsrl/seed{seed}/dev.parquet").query("step == 0") for seed in (0, 1))
    assert entropy == pytest.approx(np.average(both.entropy, weights=both.tokens))


def test_collapse_is_recorded(study):
    runs = read(study, "runs").set_index(["method", "seed"])
    assert runs.collapsed["nsr-prerl"].all() and not runs.collapsed["grpo"].any()
    assert (runs.skipped_updates == 2).all() and (runs.peak_memory_bytes == 20).all()


def test_changes_are_paired_differences_on_dev(study):
    rows = read(study, "changes").set_index(["method", "quantity", "window", "reference"])

    def mean(method, steps, column="score"):
        runs = [pd.read_parquet(study / f"{method}/seed{seed}/dev.parquet") for seed in (0, 1)]
        return np.mean([run[run.step.isin(steps)][column].mean() for run in runs])

    late = rows.loc[("dsrl", "accuracy", "end", "grpo")]
    assert (
        late.estimate == pytest.approx(mean("dsrl", [20]) - mean("grpo", [20])) and late.low < late.estimate < late.high
    )
    assert (late.seeds, late.problems, late.steps) == (2, 20, "20-20")
    assert rows.loc[("dsrl", "accuracy", "end", "base")].estimate == pytest.approx(
        mean("dsrl", [20]) - mean("dsrl", [0])
    )
    assert {"peak", "after the peak", "before the peak"} <= set(rows.index.get_level_values("window"))
    stopped = rows.loc[("nsr-prerl", "response tokens", "end", "base")]
    assert stopped.estimate == pytest.approx(mean("nsr-prerl", [10], "tokens") - mean("nsr-prerl", [0], "tokens"))
    assert ("grpo", "accuracy", "end", "grpo") not in rows.index


def test_speeds_are_where_the_mean_curve_crosses_half_of_grpos_gain(study):
    table = read(study, "speeds")
    assert {"25 %", "50 %", "75 %", "90 %"} <= set(table.target)
    rows = table[table.target == "50 %"].set_index("method")
    curve = {
        method: read(study, "curves").query("method == @method and quantity == 'accuracy'").estimate.to_numpy()
        for method in ("grpo", "dsrl", "nsr-prerl")
    }
    threshold = (curve["grpo"][0] + curve["grpo"].max()) / 2
    assert rows.threshold.to_numpy() == pytest.approx(threshold)
    taken = {name: crossing(values, [0, 5, 10, 15, 20], threshold) for name, values in curve.items()}
    for name in ("grpo", "dsrl"):
        assert rows.estimate[name] == pytest.approx(taken[name])
        assert rows.low[name] < rows.estimate[name] < rows.high[name]
    assert rows.speedup_estimate["dsrl"] == pytest.approx(taken["grpo"] / taken["dsrl"]) and rows.seeds["dsrl"] == 2
    assert (rows.estimate["nsr-prerl"], rows.speedup_estimate["nsr-prerl"]) == (np.inf, 0)
    assert rows.speedup_estimate["grpo"] == rows.speedup_low["grpo"] == rows.speedup_high["grpo"] == 1


def test_every_claim_has_a_verdict_or_says_what_is_missing(study):
    rows = pd.read_csv(study / "claims.csv").set_index("id")
    assert set(rows.index) == set(CLAIMS)
    assert rows.verdict["psr-prerl-degrades"] == "not tested at this scale"
    assert "no runs with method psr-prerl" in rows.sentence["psr-prerl-degrades"]
    assert "snakemake --cores all ablations" in rows.sentence["warmup-length"]
    tested = rows[rows.verdict != "not tested at this scale"]
    assert {"dsrl-beats-grpo", "nsr-prerl-fast", "dsrl-sample-efficiency", "alignment-positive"} <= set(tested.index)
    parts = pd.read_csv(study / "claim_parts.csv")
    assert (parts.low <= parts.estimate).all() and (parts.estimate <= parts.high).all() and parts.sizes.all()
    assert set(parts.id) == set(tested.index)
    compared = read(study, "comparisons").query(
        "method == 'dsrl' and reference == 'grpo' and benchmark == 'countdown' and metric == 'avg'"
    )
    part = parts[parts.id == "dsrl-beats-grpo"].iloc[0]
    assert part.estimate == pytest.approx(100 * compared.estimate.item())
    negative = read(study, "rollouts").query("part == 'all'").inner_product.lt(0)
    assert negative.any() and rows.verdict["alignment-positive"] == "not reproduced"
    assert parts[parts.id == "alignment-positive"].estimate.iloc[0] == pytest.approx(negative.mean())


def test_alignment_of_the_base_and_along_training(study):
    rollouts, rows = read(study, "rollouts"), read(study, "alignment")
    assert set(zip(rows.method, rows.step, strict=True)) == {("base", 0), ("grpo", 20), ("dsrl", 20)}
    assert len(rollouts) == 2 * 80
    chosen = rollouts[(rollouts.part == "body") & ~rollouts.correct]
    of_base = "method == 'base' and group == 'whole' and part == 'body' and correct == 'wrong'"
    row = rows.query(f"{of_base} and quantity == 'negative'").iloc[0]
    assert row.estimate == pytest.approx((chosen.inner_product < 0).mean()) and row.rollouts == len(chosen)
    trained = pd.concat(pd.read_parquet(study / f"dsrl/seed{seed}/alignment.parquet") for seed in (0, 1))
    trained = trained[(trained.part == "all") & (trained.group == "mlp")]
    row = rows.query(
        "method == 'dsrl' and group == 'mlp' and part == 'all' and correct == 'any' and quantity == 'cosine'"
    ).iloc[0]
    assert row.estimate == pytest.approx(trained.cosine.mean()) and (row.seeds, row.rollouts) == (2, 80)


def test_a_study_of_the_base_alone_is_summed_up(study, tmp_path):
    """No method, and so no dev evaluation: the target `base_study`."""
    summarize(few_resamples(), {}, load_lexicon(LEXICON), study, tmp_path)
    assert set(pd.read_parquet(tmp_path / "scores.parquet").method) == {"base"}
    assert pd.read_parquet(tmp_path / "curves.parquet").empty
