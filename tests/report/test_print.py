import json
import re
import shutil
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner

from prerl.analysis.study import Study
from prerl.cli import app
from prerl.errors import UserError
from prerl.report.figures.style import STYLE, Figures
from prerl.report.figures.write import FIGURES, draw_figures, save
from prerl.report.paper import compile_paper
from prerl.report.tables.typeset import interval, latex, pivot
from prerl.report.tables.write import write_tables
from tests.helpers import CAPTIONS, ROOT, SMOKE_FILE, STUDY_FIGURES, STUDY_TABLES, changed
from tests.study import read, write_study

ABLATIONS = {"warm_up", "ablations"}  # tables and figures of the other study alone
PAPER, BASELINES = Path("paper/main.typ"), Path("results/baselines")
MAIN_TABLES = [name for name in STUDY_TABLES if name not in ABLATIONS]
MAIN_FIGURES = [name for name in STUDY_FIGURES if name not in ABLATIONS]


def test_tables_say_what_the_summaries_say(study, printed):
    tables = printed / "tables"
    assert {path.name for path in tables.iterdir()} == {
        f"{n}.{kind}" for n in STUDY_TABLES for kind in ("csv", "md", "tex", "json")
    } | {"captions.json"}
    scores = read(study, "scores")
    row = next(scores.query("method == 'dsrl' and benchmark == 'countdown' and metric == 'avg'").itertuples())
    markdown, tex = (tables / "accuracy.md").read_text(), (tables / "accuracy.tex").read_text()
    line = next(line for line in markdown.splitlines() if line.startswith("| DSRL"))
    assert line.split("|")[2].strip() == "2"
    assert interval(row, 3) in line and "countdown, avg@4, 20 problems" in markdown and "95 % bootstrap" in markdown
    assert r"\toprule" in tex and "DSRL" in tex and r"95 \% bootstrap" in tex
    speed = (tables / "speed.md").read_text()
    assert next(line for line in speed.splitlines() if "NSR-PreRL" in line).count("never") >= 2
    compared = read(study, "comparisons").query("reference == 'grpo' and metric == 'avg' and benchmark == 'countdown'")
    row = next(compared[compared.method == "dsrl"].itertuples())
    assert interval(row, 3, signed=True) in (tables / "comparison.md").read_text()
    assert "–" in (tables / "spread.md").read_text() and "nan" not in (tables / "spread.md").read_text()
    assert "1 of 2" not in (tables / "runs.md").read_text() and "2 of 2" in (tables / "runs.md").read_text()
    numbers = pd.read_csv(tables / "pass_at_k.csv")
    assert sorted(numbers[numbers.benchmark == "countdown-hard"].k.unique()) == [1, 2, 4, 8]
    missing = (tables / "pass_at_k.md").read_text()
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


def test_figures_in_three_formats_and_the_same_bytes_again(printed, methods, tmp_path):
    draw_figures(STUDY_FIGURES, printed / "summary", methods, CAPTIONS / "figures", tmp_path)
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {f"{name}.{kind}" for name in STUDY_FIGURES for kind in ("svg", "pdf", "png")} | {"captions.json"}
    for file in files:
        assert (tmp_path / file).read_bytes() == (printed / "figures" / file).read_bytes(), file
        assert (tmp_path / file).stat().st_size > 4_000 or file == "captions.json"
    assert b"/Type3" not in (tmp_path / "learning_curves.pdf").read_bytes()


def test_a_new_method_gets_a_panel_of_its_own(study, methods, tmp_path):

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
    with pytest.raises(UserError, match="no table 'nothing'; there are "):
        write_tables(["nothing"], study / "summary", methods, CAPTIONS / "tables", tmp_path)
    with pytest.raises(UserError, match="no figure 'nothing'"):
        draw_figures(["nothing"], study / "summary", methods, CAPTIONS / "figures", tmp_path)


def test_methods_are_printed_as_they_are_trained_at_the_scale(study, tmp_path):
    """With the length of the scale's warm-up, and what was tuned there."""
    scale = tmp_path / "scale.yaml"
    scale.write_text(SMOKE_FILE.read_text() + "tuned: {dsrl: {learning_rate_factor: 3, warm_ups: 2}}\n")
    places = ["--scale", scale, "--summary", study / "summary", "--out", tmp_path]
    result = CliRunner().invoke(app, ["tables", "methods", *map(str, places)])
    assert result.exit_code == 0, result.output
    rows = pd.read_csv(tmp_path / "methods.csv").query("Method == 'DSRL'")
    assert rows.Batches.tolist() == ["10", "to the end"] and rows.And.str.contains("rate x 3").all()


def test_a_table_without_a_caption_is_a_users_error_before_anything_is_written(study, methods, tmp_path):
    shutil.copy(CAPTIONS / "tables/accuracy.rst", tmp_path)
    with pytest.raises(UserError, match=r"spread\.rst: cannot be read"):
        write_tables(["accuracy", "spread"], study / "summary", methods, tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def desk(printed, tmp_path, monkeypatch):
    """A working directory with the paper's source; and the results of the made-up study below it."""
    shutil.copytree(printed, tmp_path / "results/made-up")
    shutil.copytree(ROOT / "paper", tmp_path / "paper")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results/made-up"


def test_the_paper_compiles_from_what_the_stages_wrote_to_the_same_bytes(desk, tmp_path):
    import typst

    for name in ("a.pdf", "b.pdf"):
        compile_paper(PAPER, desk, BASELINES, tmp_path / name)
    pdf = (tmp_path / "a.pdf").read_bytes()
    assert pdf.startswith(b"%PDF") and pdf == (tmp_path / "b.pdf").read_bytes()
    found = typst.query("paper/main.typ", "figure", root=".", sys_inputs={"results": "/results/made-up"})
    captions = [figure["caption"] for figure in json.loads(found)]
    assert len(captions) >= 14 and all(captions)


def test_results_elsewhere_are_one_line(desk, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"made-up: not below .*elsewhere; run the command in"):
        compile_paper(Path("main.typ"), desk, BASELINES, tmp_path / "a.pdf")


def test_the_paper_shows_the_alignment_of_other_scales_beside_its_own(desk, tmp_path):
    compile_paper(PAPER, desk, BASELINES, tmp_path / "alone.pdf")
    for scale in ("made-up", "other"):  # its own reference is not another scale's
        (tmp_path / BASELINES / scale).mkdir(parents=True)
        table = {"caption": "Some caption.", "columns": ["Tokens", "Cosine"], "rows": [["all", "0.5 [0.4, 0.6]"]]}
        (tmp_path / BASELINES / scale / "alignment.json").write_text(json.dumps(table))
    compile_paper(PAPER, desk, BASELINES, tmp_path / "both.pdf")
    import typst

    inputs = {"results": "/results/made-up", "references": "other"}
    found = json.loads(typst.query("paper/main.typ", "<tab-alignment-other>", root=".", sys_inputs=inputs))
    assert len(found) == 1 and "0.5 [0.4, 0.6]" in json.dumps(found[0])
    assert (tmp_path / "both.pdf").read_bytes() != (tmp_path / "alone.pdf").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(("method", "seeds"), [("prerl", 2), ("grpo", 1)])
def test_a_study_of_one_method_is_printed_too(methods, tmp_path, monkeypatch, method, seeds):
    results = tmp_path / "results/made-up"
    write_study(results, methods, {method: [0.3, 0.4, 0.5, 0.5, 0.6]}, seeds)
    write_tables(MAIN_TABLES, results / "summary", methods, CAPTIONS / "tables", results / "tables")
    draw_figures(MAIN_FIGURES, results / "summary", methods, CAPTIONS / "figures", results / "figures")
    shutil.copytree(ROOT / "paper", tmp_path / "paper")
    monkeypatch.chdir(tmp_path)
    compile_paper(PAPER, results, BASELINES, results / "paper.pdf")
    assert (results / "paper.pdf").read_bytes().startswith(b"%PDF")


def test_the_paper_reads_its_numbers_from_the_results(desk, tmp_path):
    """No number of results is typed: other results, other text."""
    compile_paper(PAPER, desk, BASELINES, tmp_path / "a.pdf")
    claims = pd.read_csv(desk / "claims.csv").assign(verdict="reproduced")
    claims.to_csv(desk / "claims.csv", index=False)
    compile_paper(PAPER, desk, BASELINES, tmp_path / "b.pdf")
    assert (tmp_path / "a.pdf").read_bytes() != (tmp_path / "b.pdf").read_bytes()
    source = (ROOT / "paper/main.typ").read_text()
    body = source[source.index("*Abstract.*") : source.index("= Provenance")]
    prose = "\n".join(line for line in body.splitlines() if not line.lstrip().startswith("#"))
    assert not re.search(r"\d\.\d(?!\d*(?:pt|em|fr))|\d points", prose)


def test_a_paper_without_its_tables_is_a_users_error_and_leaves_the_old_one(desk, tmp_path):
    out = tmp_path / "paper.pdf"
    out.write_bytes(b"old")
    (desk / "tables/accuracy.json").unlink()
    with pytest.raises(UserError, match=r"accuracy\.json"):
        compile_paper(PAPER, desk, BASELINES, out)
    assert out.read_bytes() == b"old"


def test_a_layout_that_rounds_otherwise_is_saved_as_the_same_bytes(tmp_path, monkeypatch):
    def drawn():
        figure, axes = plt.subplots()
        axes.plot([0, 1], [0, 1])
        return figure

    laid_out = Figure.draw_without_rendering

    def shaken(self):
        laid_out(self)
        for axes in self.axes:
            axes.set_position([side + 1e-13 for side in axes.get_position(original=True).bounds])

    with matplotlib.rc_context(STYLE):
        save(drawn(), tmp_path / "one.svg", "svg", {"Date": None})
        monkeypatch.setattr(Figure, "draw_without_rendering", shaken)
        save(drawn(), tmp_path / "other.svg", "svg", {"Date": None})
    plt.close("all")
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "other.svg").read_bytes()


def test_whole_updates_are_printed_also_where_no_batch_had_a_signal(study, methods, tmp_path):
    """NSR-PreRL's and the null in numbers; methods that the study has no runs of are called by their labels."""
    shutil.copytree(study / "summary", tmp_path / "summary")
    shutil.copy(study / "claims.csv", tmp_path)
    summary, out = tmp_path / "summary", tmp_path / "out"

    def printed():
        write_tables(["alignment_updates", "alignment_noise"], summary, methods, CAPTIONS / "tables", out)
        draw_figures(["alignment_updates"], summary, methods, CAPTIONS / "figures", out)
        return (out / "alignment_updates.md").read_text(), (out / "alignment_updates.svg").read_bytes()

    (text, drawn), rows = printed(), read(study, "updates")
    for method, label in {"psr-rl": "PSR-RL", "grpo, other prompts": "GRPO, other prompts"}.items():
        line = next(line for line in text.splitlines() if line.startswith(f"| {label} "))
        [row] = rows[(rows.method == method) & (rows.quantity == "cosine")].itertuples()
        assert interval(row, 3) in line
    noise = read(study, "noise").query("of == 'rollouts' and part == 'all'").set_index("pair")
    shown = (out / "alignment_noise.md").read_text()
    assert all(interval(noise.loc[pair], 3) in shown for pair in ("cosine", "other_prompt", "excess", "across"))
    rows.iloc[:0].to_parquet(summary / "updates.parquet")
    empty, bare = printed()
    assert "| Update " in empty and "GRPO, other" not in empty and bare != drawn
    restated = rows[rows.quantity != "header_share"]
    restated.to_parquet(summary / "updates.parquet")
    assert "restated" not in printed()[0].splitlines()[2]
