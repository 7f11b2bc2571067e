"""From runs to summaries, claims, tables, figures, page and paper."""

from pathlib import Path
from typing import Annotated

import typer

from prerl.commands import (
    CAPTIONS,
    LEXICON,
    METHODS,
    REPORTED,
    Captions,
    LexiconFile,
    MethodsFile,
    Out,
    ReportedFile,
    Results,
    ScaleFile,
    app,
)
from prerl.errors import UserError, known
from prerl.settings.methods import Method, find_method, fit_methods, load_methods
from prerl.settings.scale import load_scale


@app.command()
def summarize(
    scale: ScaleFile,
    results: Results,
    out: Out,
    names: Annotated[
        list[str] | None, typer.Argument(help="The methods, in the order of print; or the base alone.")
    ] = None,
    methods: MethodsFile = METHODS,
    lexicon: LexiconFile = LEXICON,
    sensitivity: Annotated[
        Path | None, typer.Option(help="The committed sensitivity.parquet, to be shown with the study.")
    ] = None,
) -> None:
    """Reduce all runs to tidy tables of estimates with 95 % intervals."""
    from prerl.analysis.behaviour import load_lexicon
    from prerl.analysis.summary import summarize as run
    from prerl.files.atomic import write_table
    from prerl.files.checksums import read_table

    settings = load_scale(scale)
    chosen = {name: find_method(methods, name, settings) for name in names or []}
    run(settings, chosen, load_lexicon(lexicon), results, out)
    if sensitivity:
        write_table(out / "sensitivity.parquet", read_table(sensitivity))


@app.command()
def sensitivity(
    scale: ScaleFile,
    results: Annotated[Path, typer.Option(help="Where the tuning's runs are, e.g. results/tiny/sensitivity.")],
    out: Out,
    names: Annotated[list[str], typer.Argument(help="The methods, in the order of print.")],
    methods: MethodsFile = METHODS,
    captions: Captions = CAPTIONS,
    keep: Annotated[Path | None, typer.Option(help="A directory for what is to be committed; replaced.")] = None,
) -> None:
    """Choose each method's learning rate and warm-up among those that were tried: curves, choices, table, figure."""
    from prerl.analysis.sensitivity import keep_tuning, summarize_tuning
    from prerl.report.figures.write import draw_figures
    from prerl.report.tables.write import write_tables

    settings, named = load_scale(scale), load_methods(methods)
    if settings.tuning is None:
        raise UserError(f"{scale}: no section `tuning`, which says what is tried")
    summary, chosen = out / "summary", {name: named[name] for name in known(names, named, "method")}
    summarize_tuning(settings, settings.tuning, chosen, results, summary)
    write_tables(["sensitivity"], summary, named, captions / "tables", out / "tables")
    draw_figures(["sensitivity"], summary, named, captions / "figures", out / "figures")
    if keep:
        keep_tuning(out, keep)


@app.command()
def claims(
    scale: ScaleFile,
    summary: Annotated[Path, typer.Option(help="Directory of the summaries.")],
    out: Annotated[Path, typer.Option(help="The file to write.")],
    reported: ReportedFile = REPORTED,
    methods: MethodsFile = METHODS,
    baselines: Annotated[Path, typer.Option(help="Reference results of all scales.")] = Path("results/baselines"),
) -> None:
    """Confront each of the paper's claims with the runs: effects, intervals, verdict; claim_parts.csv lies beside, and
    claims_elsewhere.csv, what they gave at other scales."""
    from prerl.analysis.claims import write_claims
    from prerl.analysis.elsewhere import write_elsewhere
    from prerl.analysis.study import Study

    study = Study(summary, _as_trained(scale, methods))
    write_claims(study, reported, out)
    write_elsewhere(baselines, study.scale["name"], out.with_name("claims_elsewhere.csv"))


@app.command()
def tables(
    scale: ScaleFile,
    names: Annotated[list[str], typer.Argument(help="The tables to print.")],
    summary: Annotated[Path, typer.Option(help="Directory of the summaries.")],
    out: Out,
    methods: MethodsFile = METHODS,
    captions: Captions = CAPTIONS / "tables",
) -> None:
    """Print the summaries as tables: CSV, Markdown, LaTeX and JSON."""
    from prerl.report.tables.write import write_tables

    write_tables(names, summary, _as_trained(scale, methods), captions, out)


@app.command()
def figures(
    scale: ScaleFile,
    names: Annotated[list[str], typer.Argument(help="The figures to draw.")],
    summary: Annotated[Path, typer.Option(help="Directory of the summaries.")],
    out: Out,
    methods: MethodsFile = METHODS,
    captions: Captions = CAPTIONS / "figures",
) -> None:
    """Draw the figures: SVG, PDF and PNG."""
    from prerl.report.figures.write import draw_figures

    draw_figures(names, summary, _as_trained(scale, methods), captions, out)


@app.command()
def page(
    scale: ScaleFile,
    results: Results,
    summary: Annotated[Path, typer.Option(help="Directory of the summaries; tables and figures lie beside it.")],
    out: Annotated[Path, typer.Option(help="The HTML file to write.")],
    methods: MethodsFile = METHODS,
    lexicon: LexiconFile = LEXICON,
    template: Annotated[Path, typer.Option(help="The page's Jinja2 template.")] = Path("workflow/page/index.html"),
    further: Annotated[Path | None, typer.Option(help="Tables of the committed baselines, to be shown too.")] = None,
    entries: Annotated[Path | None, typer.Option(help="Others' entries, to be shown too.")] = None,
) -> None:
    """Put claims, figures, tables and samples into one page that works offline."""
    from prerl.analysis.behaviour import load_lexicon
    from prerl.report.entries import board
    from prerl.report.page import write_page

    record = Path("results/baselines") / scale.stem / "baselines.json"
    shown = board(entries, scale.stem, record) if entries else None
    write_page(results, summary, _as_trained(scale, methods), load_lexicon(lexicon), template, out, further, shown)


@app.command()
def paper(
    results: Results,
    out: Annotated[Path, typer.Option(help="The PDF to write.")],
    source: Annotated[Path, typer.Option(help="The paper's Typst file.")] = Path("paper/main.typ"),
    baselines: Annotated[Path, typer.Option(help="Reference results of all scales.")] = Path("results/baselines"),
) -> None:
    """Compile the paper from the tables and figures of a scale."""
    from prerl.report.paper import compile_paper

    compile_paper(source, results, baselines, out)


def _as_trained(scale: Path, methods: Path) -> dict[str, Method]:
    """All methods of a file, as they are trained at a scale."""
    return fit_methods(load_scale(scale), load_methods(methods))


@app.command()
def watch(
    plan: Annotated[Path, typer.Option(help="What is to be made, as the workflow wrote it at its start.")],
    out: Annotated[Path, typer.Option(help="The page to write.")],
    parent: Annotated[int, typer.Option(help="The process that makes it; the page ends with it.")],
    template: Annotated[Path, typer.Option(help="Of the page.")] = Path("workflow/page/unfinished.html"),
) -> None:
    """Keep a page of a study that is still being made, until it is made."""
    from prerl.report.watch import watch as run

    run(plan, template, out, parent)


@app.command()
def found(
    baselines: Annotated[Path, typer.Option(help="Committed claims.")] = Path("results/baselines/tiny/tables"),
    ablations: Annotated[Path, typer.Option(help="Those of the ablations.")] = Path("results/baselines/tiny-ablations"),
    readme: Annotated[Path, typer.Option(help="The file whose table is made anew.")] = Path("README.md"),
) -> None:
    """Write README's table of what was found, from committed results."""
    from prerl.report.found import found as run
    from prerl.report.found import put_found

    put_found(readme, run(baselines, ablations))
