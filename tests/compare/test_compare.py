"""A new method against fixed baselines."""

import json
import re
import shutil

import pandas as pd
import pytest
from typer.testing import CliRunner

from prerl.analysis.scores import ALL
from prerl.cli import app
from prerl.compare import versus as comparison
from prerl.compare.baselines import Baselines
from prerl.compare.versus import compare
from prerl.compare.written import write_baselines
from prerl.errors import UserError
from prerl.report.figures.write import draw_figures
from prerl.report.page import write_comparison
from prerl.report.tables.write import write_tables
from tests.helpers import CAPTIONS, ROOT, SMOKE_FILE, changed
from tests.study import ACCURACIES

NAMES = list(ACCURACIES)


@pytest.fixture(scope="module")
def summaries(fixed, runs, methods, lexicon, smoke):
    """Name -> (directory of the comparison, its conclusion)."""
    found = {}
    for name in ("copied", "perfect"):
        method = changed(methods["grpo"], label=name.capitalize())
        out = runs / name / "comparison/summary"
        found[name] = out, compare(smoke, Baselines(fixed), name, method, lexicon, runs, out)
    return found


def test_what_baselines_did_not_count_is_not_compared(fixed, runs, methods, lexicon, smoke, tmp_path):
    wider = changed(lexicon, behaviours=lexicon.behaviours | {"doubt": "perhaps"})
    with pytest.raises(UserError, match=r"tests\.parquet: no counts of 'doubt'") as error:
        compare(smoke, Baselines(fixed), "copied", changed(methods["grpo"], label="C"), wider, runs, tmp_path / "out")
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


def test_runs_with_other_numbers_of_dev_responses_are_not_compared(fixed, runs, methods, lexicon, smoke, tmp_path):
    """Every problem of a run alike: its own numbers tell nothing."""
    results = shutil.copytree(runs, tmp_path / "compare")
    path = results / "copied/seed1/dev.parquet"
    rows = pd.read_parquet(path)
    rows[rows["sample"] < 2].to_parquet(path)
    with pytest.raises(UserError, match=r"copied/seed1/dev\.parquet: 2 responses to problem p0 of step 0, 4 in grpo"):
        compare(smoke, Baselines(fixed), "copied", changed(methods["grpo"], label="C"), lexicon, results, tmp_path)


def test_a_copy_of_a_baseline_is_not_told_apart_from_it(summaries):
    out, text = summaries["copied"]
    rows = pd.read_parquet(out / "versus.parquet").query("baseline == 'grpo'")
    assert len(rows) == 7 and (rows.estimate == 0).all() and (rows.low == -rows.high).all()
    assert (rows.detectable >= rows.high).all() and rows.verdict.dropna().tolist() == ["undecided"]
    assert "it is not told apart from GRPO" in text and "one base model" not in text


def test_a_perfect_method_is_better_than_all(summaries, runs):
    out, text = summaries["perfect"]
    rows = pd.read_parquet(out / "versus.parquet")
    sure = rows[rows.verdict.notna()]
    assert set(sure.baseline) == set(NAMES) and (sure.verdict == "better").all() and (sure.benchmark == ALL).all()
    assert (sure.sure_low <= sure.low).all() and (sure.sure_high >= sure.high).all()
    assert text.startswith("Perfect answers 100.0 %") and "it is better than GRPO" in text
    assert "better than all 2" in text and "The strongest" not in text  # that is GRPO
    grpo = rows[(rows.baseline == "grpo") & (rows.benchmark == "countdown") & (rows.metric == "avg")].iloc[0]
    raw = pd.concat([pd.read_parquet(runs / f"copied/seed{seed}/samples.parquet") for seed in (0, 1)])
    assert grpo.estimate == pytest.approx(1 - raw[raw.benchmark == "countdown"].score.mean())


def test_the_leaderboard_shows_the_last_update_beside_the_selected_one(page, fixed):
    """By the counts of dev: NSR-PreRL ends with nothing, whatever was selected."""
    table = json.loads((page.parent / "tables/leaderboard.json").read_text())
    ends = {row[1]: row[-2:] for row in table["rows"]}
    assert table["columns"][-2:] == ["Dev, selected update", "Dev, last update"] and ends["Base"] == ["–", "–"]
    dev = pd.concat(run.assign(seed=seed) for seed, run in Baselines(fixed).dev()["nsr-prerl"].items())
    shares = dev.groupby(["step", "seed"])[["correct", "n"]].sum()
    shares = (shares.correct / shares.n).groupby("step").mean()
    assert ends["NSR-PreRL"] == [f"{shares[5]:.3f}", f"{shares[10]:.3f}"] == [ends["NSR-PreRL"][0], "0.000"]


def test_a_look_at_fewer_replicates_than_there_are_is_refused_where_baselines_lack_them(
    fixed, runs, methods, lexicon, smoke, tmp_path
):
    method = changed(methods["grpo"], label="C")
    with pytest.raises(UserError, match=r"look: 1 takes 3 replicates, and the baselines have 2"):
        compare(smoke, Baselines(fixed), "copied", method, lexicon, runs, tmp_path / "out", look=1)
    assert not (tmp_path / "out").exists()


def test_every_benchmark_has_the_same_weight(summaries):
    out, _ = summaries["copied"]
    scores = pd.read_parquet(out / "scores.parquet").query("metric == 'avg' and method == 'dsrl'")
    means = scores.set_index("benchmark").estimate
    assert len(means) == 4 and means[ALL] == pytest.approx(means.drop(ALL).mean())


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
    assert f"warning: {results}: the architecture is abacus in 5 jobs and slide rule in 1 job\n" in said
    assert "torch" not in said.replace("torch's CPU kernel", "")
    conclusion = json.loads((tmp_path / "out/conclusion.json").read_text())
    assert any("slide rule" in text for text in conclusion["warnings"])
    made = json.loads((tmp_path / "out/provenance.json").read_text())
    assert made["baselines"]["hardware"] == [{"jobs": 12, "hardware": {"machine": "abacus", "cpus": 2}}]


def test_another_baseline_moves_no_interval_but_those_of_differences(
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
            table = pd.read_parquet(out / f"{name}.parquet")
            if name == "versus":  # the spread of all baselines tells of that of each
                table = table[["method", "baseline", "benchmark", "metric", "estimate", "seeds", "problems"]]
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
    place = table["columns"].index(f"{ALL}, avg@n")
    values = [float(row[place].split()[0]) for row in table["rows"]]
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
    assert tab.locator("figure").count() == 2 and tab.locator("#samples").count() == 0
    tab.locator("#table-leaderboard th button", has_text=ALL).click()
    assert tab.locator("#table-leaderboard tbody tr").first.inner_text().count("Perfect") == 0
    tab.close()
    assert not complaints
