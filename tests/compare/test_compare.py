"""Fixed baselines, and a new method against them."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from prerl.analysis.behaviour import behaviours, count, load_lexicon
from prerl.analysis.counts import mean_dev
from prerl.analysis.curves import cube
from prerl.analysis.scores import ALL, Estimator, by_benchmark
from prerl.cli import app
from prerl.compare import versus as comparison
from prerl.compare.baselines import RECORD, Baselines, write_baselines
from prerl.compare.versus import compare, conclude, versus
from prerl.errors import UserError
from prerl.files.checksums import sha256
from prerl.report.figures.write import draw_figures
from prerl.report.page import write_comparison
from prerl.report.tables.write import write_tables
from prerl.settings.scale import load_scale
from tests.helpers import CAPTIONS, ROOT, SMOKE_FILE, changed
from tests.study import ACCURACIES, LEXICON

NAMES = list(ACCURACIES)


@pytest.fixture(scope="module")
def lexicon():
    return load_lexicon(LEXICON)


@pytest.fixture(scope="module")
def smoke():
    return load_scale(SMOKE_FILE)


@pytest.fixture(scope="module")
def fixed(printed, methods, lexicon, smoke, tmp_path_factory):
    """The baselines of the made-up study."""
    out = tmp_path_factory.mktemp("baselines") / "made-up"
    write_baselines(smoke, {name: methods[name] for name in NAMES}, lexicon, printed, out)
    return out


@pytest.fixture(scope="module")
def runs(printed, tmp_path_factory):
    """Results with two new methods: `copied`, with GRPO's very responses, and `perfect`, which is always right."""
    results = tmp_path_factory.mktemp("new") / "compare"
    shutil.copytree(printed / "problems", results / "problems")
    shutil.copytree(
        printed / "base/model", results / "base/model"
    )  # it is not evaluated, and no gradients are compared
    shutil.copy(printed / "base/run.json", results / "base")
    for name in ("copied", "perfect"):
        shutil.copytree(printed / "grpo", results / name)
    for seed in (0, 1):
        path = results / f"perfect/seed{seed}/samples.parquet"
        pd.read_parquet(path).assign(score=1.0).to_parquet(path)
    return results


@pytest.fixture(scope="module")
def summaries(fixed, runs, methods, lexicon, smoke):
    """Name -> (directory of the comparison, its conclusion)."""
    found = {}
    for name in ("copied", "perfect"):
        method = changed(methods["grpo"], label=name.capitalize())
        out = runs / name / "comparison/summary"
        found[name] = out, compare(smoke, Baselines(fixed), name, method, lexicon, runs, out)
    return found


def test_counts_say_what_the_responses_say(fixed, printed, lexicon):
    samples = Baselines(fixed).tests()
    assert list(samples) == ["base", *NAMES] and list(samples["grpo"]) == [0, 1]
    for name in NAMES:
        raw = {seed: pd.read_parquet(printed / f"{name}/seed{seed}/samples.parquet") for seed in (0, 1)}
        for (first, right, n), (second, expected, size) in zip(
            by_benchmark(samples[name]), by_benchmark(raw), strict=True
        ):
            assert (first, n) == (second, size) and np.array_equal(right, expected)


def test_behaviours_are_counted_as_in_the_study(fixed, printed, lexicon):
    samples = Baselines(fixed).tests()
    read = {}
    for name, runs in samples.items():
        paths = {seed: printed / (f"{name}/seed{seed}" if name != "base" else name) for seed in runs}
        tables = {seed: pd.read_parquet(path / "samples.parquet") for seed, path in paths.items()}
        read[name] = {seed: table.join(count(table.response, lexicon)) for seed, table in tables.items()}
    ours, its = (
        pd.DataFrame(behaviours(one, lexicon, Estimator(20, np.random.default_rng(0)))) for one in (samples, read)
    )
    pd.testing.assert_frame_equal(ours, its)


def test_dev_curves_are_those_of_the_responses(fixed, printed, lexicon):
    dev, steps = Baselines(fixed).dev(), [0, 5, 10]
    raw = {seed: pd.read_parquet(printed / f"nsr-prerl/seed{seed}/dev.parquet") for seed in (0, 1)}
    for column in ("score", "tokens"):
        np.testing.assert_allclose(cube(dev["nsr-prerl"], steps, column), cube(raw, steps, column), rtol=1e-6)
    mine = mean_dev(printed / "nsr-prerl/seed0/dev.parquet", lexicon)
    both = [table.sort_values(["step", "problem"]).reset_index(drop=True) for table in (mine, dev["nsr-prerl"][0])]
    pd.testing.assert_frame_equal(both[0], both[1][both[0].columns], check_dtype=False, rtol=1e-5)


def test_baselines_are_small_and_hold_no_responses(fixed, printed):
    assert not any("response" in pd.read_parquet(path).columns for path in fixed.glob("*.parquet"))
    record = json.loads((fixed / RECORD).read_text())
    assert {"tests.parquet", "dev.parquet", "updates.parquet", "base/model.safetensors"} <= set(record["files"])
    assert record["files"]["tests.parquet"] == sha256(fixed / "tests.parquet")
    assert record["made_with"]["commit"] == "0123456789abcdef" and len(record["runs"]) == 6


def test_the_same_runs_give_the_same_bytes(fixed, printed, methods, lexicon, smoke, tmp_path):
    write_baselines(smoke, {name: methods[name] for name in NAMES}, lexicon, printed, tmp_path / "made-up")
    assert (tmp_path / "made-up" / RECORD).read_bytes() == (fixed / RECORD).read_bytes()


def test_a_copy_of_a_baseline_is_not_told_apart_from_it(summaries):
    out, text = summaries["copied"]
    rows = pd.read_parquet(out / "versus.parquet").query("baseline == 'grpo'")
    assert len(rows) == 7 and (rows[["estimate", "low", "high"]] == 0).all(axis=None)
    assert (rows.better == 0.5).all() and rows.verdict.dropna().tolist() == ["undecided"]
    assert "not told apart from" in text and "one base model" in text


def test_a_perfect_method_is_better_than_all(summaries, runs):
    out, text = summaries["perfect"]
    rows = pd.read_parquet(out / "versus.parquet")
    sure = rows[rows.verdict.notna()]
    assert set(sure.baseline) == set(NAMES) and (sure.verdict == "better").all() and (sure.benchmark == ALL).all()
    assert (sure.sure_low <= sure.low).all() and (sure.sure_high >= sure.high).all()
    assert text.startswith("Perfect answers 100.0 %") and "better than all 3" in text and "an improvement." in text
    grpo = rows[(rows.baseline == "grpo") & (rows.benchmark == "countdown") & (rows.metric == "avg")].iloc[0]
    raw = pd.concat([pd.read_parquet(runs / f"copied/seed{seed}/samples.parquet") for seed in (0, 1)])
    assert grpo.estimate == pytest.approx(1 - raw[raw.benchmark == "countdown"].score.mean())


def test_every_benchmark_has_the_same_weight(summaries):
    out, _ = summaries["copied"]
    scores = pd.read_parquet(out / "scores.parquet").query("metric == 'avg' and method == 'dsrl'")
    means = scores.set_index("benchmark").estimate
    assert len(means) == 4 and means[ALL] == pytest.approx(means.drop(ALL).mean())


def test_many_comparisons_make_no_improvement(monkeypatch):
    """A method that is no better than 13 baselines is called better than one of them in about 2.5 % of studies at most,
    though at 95 % each it would be in many more."""
    monkeypatch.setattr(comparison, "RESAMPLES", 1000)
    rng, named, single = np.random.default_rng(0), 0, 0
    problems = [f"p{index}" for index in range(40)]
    for _ in range(60):
        difficulty = rng.uniform(0, 1, 40)

        def run(difficulty=difficulty):
            right = rng.binomial(4, np.clip(difficulty + rng.normal(0, 0.05), 0, 1))
            score = (np.arange(4) < right[:, None]).astype(float).ravel()
            return pd.DataFrame({"benchmark": "one", "problem": np.repeat(problems, 4), "score": score})

        methods = [f"m{index}" for index in range(13)]
        samples = {name: {seed: run() for seed in range(5)} for name in ("new", *methods)} | {"base": {0: run()}}
        rows = pd.DataFrame(versus(samples, "new", methods, ["one"], Estimator(10, rng))).query("benchmark == @ALL")
        rows = rows[rows.verdict.notna()]
        named += (rows.verdict == "better").any()
        single += len(rows)
    assert single == 60 * 13 and named <= 5


def test_the_conclusion_says_worse_and_undecided_too():
    scores = pd.DataFrame(
        [
            {"method": name, "benchmark": benchmark, "metric": "avg", "estimate": value, "low": value, "high": value}
            | {"seeds": 5, "problems": 100}
            for benchmark in (ALL, "one", "two")
            for name, value in {"new": 0.4, "a": 0.5, "b": 0.4, "c": 0.3}.items()
        ]
    )
    rows = pd.DataFrame({"baseline": ["a", "b", "c"], "estimate": [-0.1, 0.0, 0.1]})
    rows = rows.assign(sure_low=rows.estimate - 0.05, sure_high=rows.estimate + 0.05)
    rows = rows.assign(verdict=["worse", "undecided", "better"])
    text = conclude(rows, scores, "new", ["one", "two"], {"new": "New", "a": "A", "b": "B", "c": "C"})
    assert "better than C; worse than A; not told apart from B." in text and "200 problems, 5 seeds" in text
    assert "strongest baseline is A: the difference is -10.0 points [-15.0, -5.0], a deterioration." in text


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("workflow/methods.yaml", r"methods\.yaml: holds \d+ methods; compare takes a file of one"),
        ("grpo.yaml", "grpo.yaml: there is a method 'grpo' already; give the file another name"),
        ("mine.yaml", "gone.py:f: no such file or module"),
        ("none.yaml", "none.yaml: cannot be read"),
    ],
)
def test_a_file_that_is_no_new_method_is_not_compared(fixed, runs, tmp_path, monkeypatch, method, message):
    monkeypatch.chdir(ROOT)
    phase = "phases: [{space: post-train, samples: all, advantage: %s}]"
    (tmp_path / "grpo.yaml").write_text(phase % "std")
    (tmp_path / "mine.yaml").write_text(phase % "'gone.py:f'")
    path = method if "/" in method else str(tmp_path / method)
    options = {"scale": SMOKE_FILE, "method": path, "results": runs, "out": tmp_path / "out", "baselines": fixed}
    arguments = [str(word) for key, value in options.items() for word in (f"--{key}", value)]
    result = CliRunner().invoke(app, ["compare", *arguments])
    assert isinstance(result.exception, UserError) and re.search(message, str(result.exception))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("rl", {"steps": 25}, "differs in scale (rl.steps: 20 there, 25 here)"),
        ("rl", {"learning_rate": 1e-3}, "differs in scale (rl.learning_rate: 0.0003 there, 0.001 here)"),
        ("problems", {"dev": 17}, "differs in problem sets (dev: 16 there, 17 here)"),
        ("evaluation", {"temperature": 0.6}, "differs in sampling settings (temperature: 1.0 there, 0.6 here)"),
        ("evaluation", {"benchmarks": {"countdown": 8}}, "(benchmarks.countdown: 4 there, 8 here)"),
    ],
)
def test_what_was_not_measured_alike_is_not_compared(fixed, smoke, section, values, message):
    other = {section: changed(getattr(smoke, section), **values)}
    if "benchmarks" in values:
        other[section] = other[section].model_copy(
            update={"benchmarks": {**smoke.evaluation.benchmarks, "countdown": 8}}
        )
    with pytest.raises(UserError) as error:
        Baselines(fixed).check_fit(smoke.model_copy(update=other))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_another_verifier_is_not_compared(fixed, smoke, monkeypatch):
    monkeypatch.setattr("prerl.compare.baselines.fingerprint", lambda *modules: "another")
    with pytest.raises(UserError, match="verifier \\(code: "):
        Baselines(fixed).check_fit(smoke)


def test_other_problems_or_another_base_are_not_compared(fixed, runs, tmp_path):
    for name in ("problems", "base"):
        shutil.copytree(runs / name, tmp_path / name)
    Baselines(fixed).check_inputs(tmp_path)
    for name in ("problems/countdown.jsonl", "base/model/model.safetensors"):
        before = (tmp_path / name).read_text()
        (tmp_path / name).write_text(before + "{}\n")
        with pytest.raises(UserError, match=f"{name}: not what .* was made from"):
            Baselines(fixed).check_inputs(tmp_path)
        (tmp_path / name).write_text(before)


@pytest.mark.parametrize("name", ["tests.parquet", "base/model.safetensors"])
@pytest.mark.parametrize("harm", ["flip", "remove"])
def test_a_damaged_file_is_named(fixed, tmp_path, name, harm):
    shutil.copytree(fixed, tmp_path / "baselines")
    path = tmp_path / "baselines" / name
    if harm == "flip":
        path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    else:
        path.unlink()
    with pytest.raises(UserError, match=f"{name}: missing or damaged"):
        Baselines(tmp_path / "baselines")


def test_baselines_that_are_not_there_say_how_to_make_them(tmp_path):
    with pytest.raises(UserError, match="snakemake --cores all baselines"):
        Baselines(tmp_path)


def records(versions=None, hardware=None):
    """Those of a new method's runs, made as the baselines were but for what is given."""
    made = {name: "1.0" for name in ("python", "torch", "transformers", "lm-eval")}
    return [{"versions": made | (versions or {}), "hardware": {"machine": "abacus", "cpus": 2} | (hardware or {})}]


def test_other_versions_and_machines_are_warned_of(fixed, smoke, lexicon):
    here = records({"torch": "2.0", "trl": "1"}, {"machine": "slide rule", "cpus": 64})
    found = Baselines(fixed).warnings(smoke, lexicon, here)
    assert any(text.startswith("torch is ") and text.endswith("1.0 there") for text in found)
    assert any(text.startswith("hardware: ") and "abacus" in text for text in found)
    assert not any("code" in text or "lexicon" in text or "cpus" in text or "trl" in text for text in found)


@pytest.fixture
def named(fixed, tmp_path):
    """The baselines, made on a machine that they name in full."""
    copy = shutil.copytree(fixed, tmp_path / "named")
    record = json.loads((copy / RECORD).read_text())
    record["made_with"]["hardware"] = [{"jobs": 12, "hardware": NAMED}]
    (copy / RECORD).write_text(json.dumps(record))
    return Baselines(copy)


NAMED = {"machine": "abacus", "cpus": 2, "processor": "Z80", "kernel": "AVX2", "threads": 1}


@pytest.mark.parametrize(
    ("other", "warning"),
    [
        ({}, None),
        ({"cpus": 96}, None),
        ({"processor": "6502"}, "hardware: the processor is 6502 here, Z80 there"),
        ({"kernel": "AVX512"}, "hardware: torch's CPU kernel is AVX512 here, AVX2 there"),
        ({"machine": "slide rule"}, "hardware: the architecture is slide rule here, abacus there"),
        ({"gpu": "Voodoo 2"}, "hardware: the GPU is Voodoo 2 here, none there"),
    ],
)
def test_another_processor_kernel_or_gpu_is_warned_of_and_the_number_of_cores_is_not(
    named, smoke, lexicon, other, warning
):
    assert named.warnings(smoke, lexicon, records(hardware=NAMED | other)) == ([warning] if warning else [])
    both = [*records(hardware=NAMED), *records(hardware=NAMED | other)]
    found = named.warnings(smoke, lexicon, both)  # one run of several
    assert len(found) == (warning is not None) and (not found or " here, " in found[0])


@pytest.mark.parametrize(
    ("key", "value", "warning"),
    [
        ("threads", 7, "hardware: the number of threads is 7 here, 1 there"),
        (
            "engine",
            {"name": "trl", "processes": 1, "precision": "float32", "gradient_checkpointing": False}
            | {"launch": None, "vllm": None},
            "engine is trl (processes 1, launch None, precision float32, gradient_checkpointing False, vllm None) here"
            ", local there",
        ),
    ],
)
def test_other_threads_and_another_engine_are_warned_of(named, smoke, lexicon, key, value, warning):
    other = changed(smoke, **{key: value})
    named.check_fit(other)
    assert named.warnings(other, lexicon, records(hardware=NAMED)) == [warning]


def test_baselines_that_do_not_name_their_processor_say_so():
    """The committed ones, which were written before records named it. They stay usable, and what else they name is
    compared."""
    scale, committed = load_scale(ROOT / "workflow/scales/tiny.yaml"), Baselines(ROOT / "results/baselines/tiny")
    made = committed.record["made_with"]
    assert isinstance(made["hardware"], dict) and "processor" not in made["hardware"]
    here = [{"versions": made["versions"], "hardware": made["hardware"] | NAMED | {"machine": "x86_64", "cpus": 8}}]
    found = [text for text in committed.warnings(scale, None, here) if "code" not in text]
    assert found == [
        "not named there: the processor, torch's CPU kernel, the number of threads, engine (here: the processor Z80, "
        "torch's CPU kernel AVX2, the number of threads 1, engine local)"
    ]
    old = [{"versions": made["versions"] | {"torch": "9.9"}, "hardware": made["hardware"]}]
    found = committed.warnings(scale, None, old)
    assert "torch is 9.9 here, 2.13.0+cpu there" in found
    assert "not named here: the processor, torch's CPU kernel" in found


def test_baselines_name_every_set_that_they_were_made_with(printed, methods, lexicon, smoke, tmp_path, capsys):
    results = shutil.copytree(printed, tmp_path / "made-up")
    path = results / "dsrl/seed1/run.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"versions": record["versions"] | {"torch": "2.0"}, "commit": "another"}))
    write_baselines(smoke, {name: methods[name] for name in NAMES}, lexicon, results, tmp_path / "fixed")
    made = Baselines(tmp_path / "fixed").record["made_with"]
    assert [(one["jobs"], one["versions"]["torch"]) for one in made["versions"]] == [(11, "1.0"), (1, "2.0")]
    assert made["commit"] is None and made["settings"] == {"threads": 1, "engine": {"name": "local"}}
    said = capsys.readouterr().err
    assert f"prerl: warning: {results}: torch is 1.0 in 11 jobs and 2.0 in 1 job\n" in said
    assert "torch is 1.0 here, 1.0 and 2.0 there" in Baselines(tmp_path / "fixed").warnings(smoke, lexicon, records())


def test_a_comparison_warns_of_what_its_runs_were_made_with(fixed, runs, methods, lexicon, smoke, tmp_path, capsys):
    """Not of the machine that compares: here one run of two, made elsewhere, is also a mixture."""
    results = shutil.copytree(runs, tmp_path / "compare")
    path = results / "copied/seed1/evaluate.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"hardware": record["hardware"] | {"machine": "slide rule"}}))
    few = changed(smoke, analysis=changed(smoke.analysis, bootstrap=40))
    compare(few, Baselines(fixed), "copied", changed(methods["grpo"], label="C"), lexicon, results, tmp_path / "out")
    said = capsys.readouterr().err
    assert f"warning: {fixed}: hardware: the architecture is abacus and slide rule here, abacus there\n" in said
    assert f"warning: {results}: the architecture is abacus in 4 jobs and slide rule in 1 job\n" in said
    assert "torch" not in said.replace("torch's CPU kernel", "")
    conclusion = json.loads((tmp_path / "out/conclusion.json").read_text())
    assert any("slide rule" in text for text in conclusion["warnings"])
    made = json.loads((tmp_path / "out/provenance.json").read_text())
    assert made["baselines"]["hardware"] == [{"jobs": 12, "hardware": {"machine": "abacus", "cpus": 2}}]


def test_another_baseline_moves_no_interval_but_those_for_all_at_once(
    fixed, printed, runs, methods, lexicon, smoke, tmp_path
):
    few = changed(smoke, analysis=changed(smoke.analysis, bootstrap=40))
    write_baselines(few, {name: methods[name] for name in ("dsrl", "grpo")}, lexicon, printed, tmp_path / "fewer")
    tables = []
    for place in (tmp_path / "fewer", fixed):
        out, method = tmp_path / f"out-{place.name}", changed(methods["grpo"], label="C")
        compare(few, Baselines(place), "copied", method, lexicon, runs, out)
        found = {}
        for name in ("scores", "versus", "curves", "speeds", "behaviour"):
            table = pd.read_parquet(out / f"{name}.parquet").drop(columns=["sure_low", "sure_high"], errors="ignore")
            key = "baseline" if name == "versus" else "method"
            found[name] = table[table[key] != "nsr-prerl"].sort_values(key, kind="stable").reset_index(drop=True)
        tables.append(found)
    for name, table in tables[0].items():
        pd.testing.assert_frame_equal(table, tables[1][name])


@pytest.fixture(scope="module")
def page(summaries, fixed, methods):
    summary, _ = summaries["perfect"]
    named = {name: methods[name] for name in NAMES} | {"perfect": changed(methods["grpo"], label="Perfect")}
    write_tables([*comparison.TABLES], summary, named, CAPTIONS / "tables", summary.parent / "tables")
    draw_figures([*comparison.FIGURES], summary, named, CAPTIONS / "figures", summary.parent / "figures")
    write_comparison(summary, named, ROOT / "workflow/page/compare.html", summary.parent / "index.html")
    return summary.parent / "index.html"


def test_the_leaderboard_ranks_and_marks(page):
    table = json.loads((page.parent / "tables/leaderboard.json").read_text())
    names = [row[1] for row in table["rows"]]
    assert names[0] == "Perfect ◀" and set(names) == {"Perfect ◀", "Base", "GRPO", "NSR-PreRL", "DSRL"}
    values = [float(row[3].split()[0]) for row in table["rows"]]
    assert values == sorted(values, reverse=True)
    effort = json.loads((page.parent / "tables/effort.json").read_text())
    assert [row[0] for row in effort["rows"]] == ["GRPO", "NSR-PreRL", "DSRL", "Perfect ◀"]
    assert "never" in json.dumps(effort["rows"][1])  # it collapses


def test_the_page_opens_and_says_the_conclusion(page, summaries, chromium):
    tab, complaints = chromium.new_page(), []
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(page.as_uri())
    assert tab.locator("h1").inner_text() == "Perfect against 3 baselines"
    assert tab.locator(".lead").inner_text() == summaries["perfect"][1]
    assert tab.locator("#figures figure").count() == 2 and tab.locator("#samples").count() == 0
    tab.locator("#table-leaderboard th button").nth(3).click()
    assert tab.locator("#table-leaderboard tbody tr").first.inner_text().count("Perfect") == 0
    tab.close()
    assert not complaints
