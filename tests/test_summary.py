import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from prerl.behaviour import load_lexicon
from prerl.claims import CLAIMS, write_claims
from prerl.config import load_scale
from prerl.curves import crossing
from prerl.errors import UserError
from prerl.figures import FIGURES, draw_figures
from prerl.metrics import bayes_interval, improvement, maj_at_k, pass_at_k, spread
from prerl.paper import compile_paper
from prerl.study import Study
from prerl.summary import summarize
from prerl.tables import TABLES, interval, latex, pivot, write_tables
from tests.helpers import ROOT, SMOKE_FILE, changed

LEXICON = ROOT / "workflow/lexicons/countdown.yaml"
TEXTS = ["a yes . answer 1", "no . but try b", "wait , let me check : no . alternatively , try c but d", ""]


def responses(rng, accuracy, names, repeats, **columns):
    """A table of responses as the stages write it."""
    size = len(names) * repeats
    return pd.DataFrame(
        {
            **columns,
            "problem": np.repeat(names, repeats),
            "sample": np.tile(np.arange(repeats), len(names)),
            "response": rng.choice(TEXTS, size),
            "tokens": rng.integers(5, 50, size),
            "entropy": rng.random(size),
            "finished": True,
            "score": (score := (rng.random(size) < accuracy).astype(float)),
            "answer": np.where(score > 0, "right", rng.choice(["wrong", "other"], size)),
        }
    )


def write_alignment(rng, path, **columns):
    """Comparisons of gradients as the stages write them."""
    keys = pd.MultiIndex.from_product(
        [range(40), ["all", "body"], ["whole", "mlp"]], names=["rollout", "part", "group"]
    ).to_frame(index=False)
    size = len(keys)
    numbers = {"inner_product": rng.normal(1, 1, size), "cosine": rng.uniform(-0.2, 1, size), "tokens": 30}
    keys = keys.assign(problem=(keys.rollout // 8).astype(str), correct=keys.rollout % 3 == 0, **numbers, **columns)
    keys.assign(norm_post_train=1.0, norm_pre_train=2.0).to_parquet(path / "alignment.parquet")
    if columns:
        return
    whole = keys[keys.group == "whole"][["rollout", "problem", "part"]]
    values = {pair: rng.uniform(-0.3, 0.3, len(whole)) for pair in ("across", "within")}
    whole.assign(**values).to_parquet(path / "noise.parquet")
    names = ("within_post_train", "within_pre_train", "across", "across_halves")
    splits = pd.DataFrame({"part": ["all"] * 35 + ["body"] * 35} | {name: rng.uniform(0, 1, 70) for name in names})
    splits.to_parquet(path / "halves.parquet")
    tokens = pd.DataFrame({"rollout": np.repeat(np.arange(40), 12), "position": np.tile(np.arange(12), 40)})
    tokens = tokens.assign(problem=(tokens.rollout // 8).astype(str), body=tokens.position > 4)
    tokens = tokens.assign(logp_post_train=-rng.random(480), logp_pre_train=-rng.random(480))
    tokens.to_parquet(path / "positions.parquet")


@pytest.fixture(scope="module")
def study(tmp_path_factory, methods):
    """Results of a small study with known accuracies: GRPO learns; the second seed of NSR-PreRL collapses and stops."""
    results, rng = tmp_path_factory.mktemp("results") / "made-up", np.random.default_rng(0)
    scale = load_scale(SMOKE_FILE)
    names = [f"p{index}" for index in range(20)]
    benchmarks = scale.evaluation.benchmarks

    def write_run(path, accuracy):
        path.mkdir(parents=True)
        tables = [responses(rng, accuracy, names, n, benchmark=name) for name, n in benchmarks.items()]
        pd.concat(tables, ignore_index=True).to_parquet(path / "samples.parquet")
        (path / "evaluate.json").write_text(json.dumps({"wall_seconds": 1.0, "peak_memory_bytes": 10}))

    write_run(results / "base", 0.3)
    versions = dict.fromkeys(("python", "torch", "transformers", "lm-eval"), "1.0")
    about = {"versions": versions, "hardware": {"machine": "abacus", "cpus": 2}, "commit": "0123456789abcdef"}
    cost = {"wall_seconds": 2.0, "peak_memory_bytes": 30, "tokens": 50}
    (results / "base/run.json").write_text(json.dumps({"parameters": 1000, **about, **cost}))
    write_alignment(rng, results / "base")
    curve = {"grpo": [0.3, 0.4, 0.5, 0.6, 0.7], "nsr-prerl": [0.3, 0.35, 0.0], "dsrl": [0.3, 0.3, 0.4, 0.5, 0.6]}
    for method, accuracies in curve.items():
        for seed in scale.seeds:
            path = results / method / f"seed{seed}"
            write_run(path, max(accuracies))
            steps = [responses(rng, a, names, 4, step=5 * index) for index, a in enumerate(accuracies)]
            pd.concat(steps, ignore_index=True).to_parquet(path / "dev.parquet")
            if method != "nsr-prerl":
                write_alignment(rng, path, step=20)
            record = {
                "selected_step": 5,
                "updates": 5 * (len(accuracies) - 1),
                "skipped_updates": 2,
                "wall_seconds": 3.0,
                "tokens": 100,
                "peak_memory_bytes": 20,
            }
            (path / "run.json").write_text(json.dumps(record))
    summarize(scale, {name: methods[name] for name in curve}, load_lexicon(LEXICON), results, results / "summary")
    write_claims(Study(results / "summary", methods), ROOT / "paper/reported.yaml", results / "claims.csv")
    return results


def read(study, name):
    return pd.read_parquet(study / f"summary/{name}.parquet")


def test_scores_are_those_of_the_samples(study):
    scores = read(study, "scores")
    assert list(dict.fromkeys(scores.method)) == ["base", "grpo", "nsr-prerl", "dsrl"]
    rows = pd.concat(pd.read_parquet(study / f"grpo/seed{seed}/samples.parquet") for seed in (0, 1))
    rows = rows[rows.benchmark == "countdown-hard"]
    row = scores[(scores.method == "grpo") & (scores.benchmark == "countdown-hard")].set_index(["metric", "k"])
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
    runs = [study / "base"] if method == "base" else [study / f"{method}/seed{seed}" for seed in (0, 1)]
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
        assert row.better == pytest.approx(improvement(first, second)) and row.better_low < row.better < row.better_high
    solved = rows.query("method == 'dsrl' and reference == 'base' and benchmark == 'countdown' and metric == 'pass'")
    first, second = (shares(study, method, "countdown", 4) > 0 for method in ("dsrl", "base"))
    assert solved.estimate.item() == pytest.approx(first.mean() - second.mean()) and solved.k.item() == 4


def test_spread_by_source(study):
    rows = read(study, "spread").query("benchmark == 'countdown-hard'").set_index("method")
    expected = spread(shares(study, "grpo", "countdown-hard", 8) * 8, 8)
    assert rows.loc["grpo", list(expected)].astype(float).to_dict() == pytest.approx(expected)
    assert np.isnan(rows.seed["base"]) and rows.problems["base"] == 20


def test_behaviour_rates_are_counts_over_responses_tokens_and_thoughts(study):
    def words(path):
        rows = pd.read_parquet(study / path / "samples.parquet").query("benchmark == 'countdown'")
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
    runs = [words(f"dsrl/seed{seed}") for seed in (0, 1)]
    rate = sum(count for count, _ in runs) / sum(len(rows) for _, rows in runs)
    assert table.ratio["response"] == pytest.approx(rate / (found / len(rows)))
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
    early = rows.loc[("dsrl", "accuracy", "early", "base")]
    assert early.estimate == pytest.approx(mean("dsrl", [5]) - mean("dsrl", [0]))
    stopped = rows.loc[("nsr-prerl", "response tokens", "end", "base")]
    assert stopped.estimate == pytest.approx(mean("nsr-prerl", [10], "tokens") - mean("nsr-prerl", [0], "tokens"))
    assert ("grpo", "accuracy", "end", "grpo") not in rows.index


def test_speeds_are_where_the_mean_curve_crosses_half_of_grpos_gain(study):
    rows = read(study, "speeds").set_index("method")
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
    assert (tested.low <= tested.estimate).all() and (tested.estimate <= tested.high).all() and tested.sizes.all()
    compared = read(study, "comparisons").query(
        "method == 'dsrl' and reference == 'grpo' and benchmark == 'countdown' and metric == 'avg'"
    )
    assert rows.estimate["dsrl-beats-grpo"] == pytest.approx(100 * compared.estimate.item())
    assert rows.reported["dsrl-beats-grpo"] == pytest.approx(57.54 - 55.79)
    negative = read(study, "rollouts").query("part == 'all'").inner_product.lt(0)
    assert negative.any() and rows.verdict["alignment-positive"] == "not reproduced"
    interval = stats.binomtest(int(negative.sum()), len(negative)).proportion_ci(method="exact")
    found = rows.loc["alignment-positive", ["low", "high"]].astype(float)
    assert found.tolist() == pytest.approx([interval.low, interval.high])


def test_alignment_of_the_base_and_along_training(study):
    rollouts, rows = read(study, "rollouts"), read(study, "alignment")
    assert set(zip(rows.method, rows.step, strict=True)) == {("base", 0), ("grpo", 20), ("dsrl", 20)}
    assert len(rollouts) == 80
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


def test_runs_on_other_problems_are_not_compared(study, tmp_path, methods):
    import shutil

    other = tmp_path / "made-up"
    shutil.copytree(study, other)
    path = other / "grpo/seed1/samples.parquet"
    pd.read_parquet(path).replace({"problem": {"p3": "q3"}}).to_parquet(path)
    with pytest.raises(RuntimeError, match="same problems"):
        summarize(load_scale(SMOKE_FILE), {"grpo": methods["grpo"]}, load_lexicon(LEXICON), other, tmp_path / "summary")


def test_tables_say_what_the_summaries_say(study, methods, tmp_path):
    write_tables(list(TABLES), study / "summary", methods, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{n}.{kind}" for n in TABLES for kind in ("csv", "md", "tex", "json")
    }
    scores = read(study, "scores")
    row = next(scores.query("method == 'dsrl' and benchmark == 'countdown' and metric == 'avg'").itertuples())
    markdown, tex = (tmp_path / "accuracy.md").read_text(), (tmp_path / "accuracy.tex").read_text()
    line = next(line for line in markdown.splitlines() if line.startswith("| DSRL"))
    assert line.split("|")[2].strip() == "2"
    assert interval(row, 3) in line and "countdown, avg@4, 20 problems" in markdown and "95 % bootstrap" in markdown
    assert r"\toprule" in tex and "DSRL" in tex and r"95 \% bootstrap" in tex
    speed = (tmp_path / "speed.md").read_text()
    assert next(line for line in speed.splitlines() if "NSR-PreRL" in line).count("never") >= 2
    compared = read(study, "comparisons").query("reference == 'grpo' and metric == 'avg' and benchmark == 'countdown'")
    row = next(compared[compared.method == "dsrl"].itertuples())
    assert interval(row, 3, signed=True) in (tmp_path / "comparison.md").read_text()
    assert "–" in (tmp_path / "spread.md").read_text() and "nan" not in (tmp_path / "spread.md").read_text()
    assert "1 of 2" not in (tmp_path / "runs.md").read_text() and "2 of 2" in (tmp_path / "runs.md").read_text()
    numbers = pd.read_csv(tmp_path / "pass_at_k.csv")
    assert sorted(numbers[numbers.benchmark == "countdown-hard"].k.unique()) == [1, 2, 4, 8]
    missing = (tmp_path / "pass_at_k.md").read_text()
    assert "pass@4" in missing and "pass@16" not in missing


def test_latex_escapes():
    tex = latex(pd.DataFrame({"A_b": ["50 % & more"], "x": ["–"]}), "100 % sure", "tab:x")
    assert r"A\_b" in tex and r"50 \% \& more" in tex and r"100 \% sure" in tex


def test_pivot_marks_what_is_missing(study, methods):
    made = Study(study / "summary", methods)
    rows = made.read("scores").query("metric == 'pass' and k in [4, 8]")
    wide = pivot(made, rows.assign(head=rows.k.astype(str)), ["benchmark", "method"], "head")
    assert wide[wide.Benchmark == "countdown"]["8"].tolist() == ["–"] * 4
    assert wide[wide.Benchmark == "countdown"].Method.tolist() == ["Base", "GRPO", "NSR-PreRL", "DSRL"]


def test_figures_in_three_formats_and_the_same_bytes_again(study, methods, tmp_path):
    for name in ("a", "b"):
        draw_figures(list(FIGURES), study / "summary", methods, tmp_path / name)
    files = {path.name for path in (tmp_path / "a").iterdir()}
    assert files == {f"{name}.{kind}" for name in FIGURES for kind in ("svg", "pdf", "png")} | {"captions.json"}
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file
        assert (tmp_path / "a" / file).stat().st_size > 4_000 or file == "captions.json"
    assert b"/Type3" not in (tmp_path / "a/learning_curves.pdf").read_bytes()


def test_a_new_method_gets_a_panel_of_its_own(study, methods, tmp_path):
    import shutil

    from prerl.drawing import Figures

    shutil.copytree(study / "summary", tmp_path / "summary")
    path = tmp_path / "summary/scale.json"
    scale = json.loads(path.read_text())
    path.write_text(json.dumps({**scale, "methods": [*scale["methods"], "mine"]}))
    for name in ("curves", "seeds"):
        table = read(study, name)
        mine = table[table.method == "grpo"].assign(method="mine")
        pd.concat([table, mine]).to_parquet(tmp_path / f"summary/{name}.parquet")
    named = {**methods, "mine": changed(methods["grpo"], label="Mine")}
    drawn = FIGURES["learning_curves"](Figures(tmp_path / "summary", named))
    assert len(drawn.axes) == 3 and "Mine" in [text.get_text() for text in drawn.legends[0].get_texts()]


def test_an_unknown_table_or_figure_is_a_users_error(study, methods, tmp_path):
    with pytest.raises(UserError, match="no table 'nothing'; there are behaviour"):
        write_tables(["nothing"], study / "summary", methods, tmp_path)
    with pytest.raises(UserError, match="no figure 'nothing'"):
        draw_figures(["nothing"], study / "summary", methods, tmp_path)


def test_provenance_adds_up_the_cost_of_each_stage(study):
    made = json.loads((study / "summary/provenance.json").read_text())
    assert (made["parameters"], made["hardware"]["machine"]) == (1000, "abacus")
    assert made["commit"] is None  # the records of the other stages name none
    stages = {stage["stage"]: stage for stage in made["stages"]}
    assert set(stages) == {"base model", "training", "evaluation"}  # no records of alignment here
    training = stages["training"]
    assert (training["jobs"], training["wall_seconds"], training["tokens"]) == (6, 18.0, 600)
    assert stages["evaluation"]["jobs"] == 7 and stages["base model"]["peak_memory_bytes"] == 30


@pytest.fixture
def printed(study, methods, tmp_path, monkeypatch):
    """A working directory with the paper's source and the results of the made-up study, as the DAG leaves them."""
    import shutil

    results = tmp_path / "results/made-up"
    shutil.copytree(study / "summary", results / "summary")
    shutil.copy(study / "claims.csv", results)
    shutil.copytree(ROOT / "paper", tmp_path / "paper")
    write_tables(list(TABLES), results / "summary", methods, results / "tables")
    draw_figures(list(FIGURES), results / "summary", methods, results / "figures")
    monkeypatch.chdir(tmp_path)
    return results


def test_the_paper_compiles_from_what_the_stages_wrote_to_the_same_bytes(printed, tmp_path):
    import typst

    for name in ("a.pdf", "b.pdf"):
        compile_paper(Path("paper/main.typ"), printed, tmp_path / name)
    pdf = (tmp_path / "a.pdf").read_bytes()
    assert pdf.startswith(b"%PDF") and pdf == (tmp_path / "b.pdf").read_bytes()
    found = typst.query("paper/main.typ", "figure", root=".", sys_inputs={"results": "/results/made-up"})
    captions = [figure["caption"] for figure in json.loads(found)]
    assert len(captions) >= 14 and all(captions)


def test_the_paper_reads_its_numbers_from_the_results(printed, tmp_path):
    """No number of results is typed: other results, other text."""
    compile_paper(Path("paper/main.typ"), printed, tmp_path / "a.pdf")
    claims = pd.read_csv(printed / "claims.csv").assign(verdict="reproduced")
    claims.to_csv(printed / "claims.csv", index=False)
    compile_paper(Path("paper/main.typ"), printed, tmp_path / "b.pdf")
    assert (tmp_path / "a.pdf").read_bytes() != (tmp_path / "b.pdf").read_bytes()
    source = (ROOT / "paper/main.typ").read_text()
    body = source[source.index("*Abstract.*") : source.index("= Provenance")]
    prose = "\n".join(line for line in body.splitlines() if not line.lstrip().startswith("#"))
    assert not re.search(r"\d\.\d|\d points", prose)


def test_a_paper_without_its_tables_is_a_users_error_and_leaves_the_old_one(printed, tmp_path):
    out = tmp_path / "paper.pdf"
    out.write_bytes(b"old")
    (printed / "tables/accuracy.json").unlink()
    with pytest.raises(UserError, match=r"accuracy\.json"):
        compile_paper(Path("paper/main.typ"), printed, out)
    assert out.read_bytes() == b"old"
