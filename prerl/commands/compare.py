"""Fixed baselines, comparisons with them, and speed."""

from pathlib import Path
from typing import Annotated

import typer

from prerl.commands import (
    CAPTIONS,
    ENTRIES,
    LEXICON,
    METHODS,
    BaselinesDir,
    Captions,
    LexiconFile,
    MethodsFile,
    Out,
    Results,
    ScaleFile,
    app,
)
from prerl.errors import UserError
from prerl.settings.methods import find_method, load_methods, new_method
from prerl.settings.scale import load_scale


@app.command()
def baselines(
    scale: ScaleFile,
    results: Results,
    out: Out,
    methods: MethodsFile = METHODS,
    lexicon: LexiconFile = LEXICON,
) -> None:
    """Reduce the scale's runs to fixed baselines, with which new methods are compared."""
    from prerl.analysis.behaviour import load_lexicon
    from prerl.compare.written import write_baselines

    settings = load_scale(scale)
    chosen = {name: find_method(methods, name, settings) for name in (*settings.methods, *settings.further)}
    write_baselines(settings, chosen, load_lexicon(lexicon), results, out)


@app.command()
def compare(
    scale: ScaleFile,
    method: Annotated[Path, typer.Option(help="The new method's file.")],
    results: Annotated[Path, typer.Option(help="Where its runs are, e.g. results/tiny/compare.")],
    out: Out,
    baselines: BaselinesDir,
    lexicon: LexiconFile = LEXICON,
    captions: Captions = CAPTIONS,
    template: Annotated[Path, typer.Option(help="The page's template.")] = Path("workflow/page/compare.html"),
    look: Annotated[
        int | None, typer.Option(min=1, max=3, help="Of a comparison that may stop early, after 3, 5, 8 replicates.")
    ] = None,
    entries: Annotated[Path, typer.Option(help="Others' entries, which the page shows too.")] = ENTRIES,
) -> None:
    """Compare a new method's runs with the baselines: summaries, tables, figures, a page, and a conclusion."""
    from prerl.analysis.behaviour import load_lexicon
    from prerl.compare.baselines import RECORD, Baselines
    from prerl.compare.tuned import as_tuned, tuned_values
    from prerl.compare.versus import FIGURES, TABLES
    from prerl.compare.versus import compare as run
    from prerl.report.entries import board
    from prerl.report.figures.write import draw_figures
    from prerl.report.page import write_comparison
    from prerl.report.tables.write import write_tables

    settings, fixed, summary = load_scale(scale), Baselines(baselines), out / "summary"
    name, found = new_method(method, settings, fixed.methods())
    found = as_tuned(settings, name, load_methods(method)[name], tuned_values(fixed, name, found, results / name))
    print(run(settings, fixed, name, found, load_lexicon(lexicon), results, summary, look))
    methods = fixed.methods() | {name: found}
    write_tables([*TABLES], summary, methods, captions / "tables", out / "tables")
    draw_figures([*FIGURES], summary, methods, captions / "figures", out / "figures")
    shown = board(entries, fixed.record["scale"], baselines / RECORD)
    write_comparison(summary, methods, template, out / "index.html", shown)


@app.command()
def submit(
    scale: ScaleFile,
    method: Annotated[Path, typer.Option(help="The method's file, as it was compared.")],
    results: Annotated[Path | None, typer.Option(help="Where its runs are; by default of the scale.")] = None,
    baselines: Annotated[Path | None, typer.Option(help="By default those of the scale.")] = None,
    author: Annotated[str | None, typer.Option(help="As the leaderboard shall name them.")] = None,
    variants: Annotated[
        int, typer.Option(min=1, help="All that were tried, if the ledger of this checkout does not have them all.")
    ] = 1,
    lexicon: LexiconFile = LEXICON,
    out: Annotated[Path, typer.Option(help="Directory of entries.")] = ENTRIES,
) -> None:
    """Pack a comparison into results/entries/NAME, to be committed for the leaderboard."""
    from prerl.analysis.behaviour import load_lexicon
    from prerl.compare.baselines import Baselines
    from prerl.compare.entries import submit as run

    fixed = Baselines(baselines or Path("results/baselines") / scale.stem)
    results = results or Path("results") / scale.stem / "compare"
    entry = run(load_scale(scale), fixed, method, load_lexicon(lexicon), results, out, author, variants)
    if entry.variants > variants:
        print(f"Variants tried: {entry.variants}, by {results / 'ledger.jsonl'}.")
    print(f"{out / entry.name}: commit this directory; `prerl verify-entry {out / entry.name}` checks it")


@app.command()
def verify_entry(
    entry: Annotated[Path, typer.Argument(help="Its directory, e.g. results/entries/NAME.")],
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the run that is made again; by default its first.")
    ] = None,
    scale: Annotated[Path | None, typer.Option(help="A scale file; by default that of the entry.")] = None,
    baselines: Annotated[Path | None, typer.Option(help="By default those of the scale.")] = None,
    tasks: Annotated[Path, typer.Option(help="Directory of the lm-eval task files.")] = Path("workflow/tasks"),
    run_its_code: Annotated[
        bool, typer.Option("--run-its-code", help="Run the functions of the entry's author. Read them before.")
    ] = False,
) -> None:
    """Check an entry: its files, its numbers by its counts, and one of its runs, made again."""
    from prerl.analysis.entries import read_entry
    from prerl.compare.baselines import Baselines
    from prerl.compare.entries import open_entry, recompute, reproduce_entry

    name = read_entry(entry).scale
    settings = load_scale(scale or Path(f"workflow/scales/{name}.yaml"))
    fixed = Baselines(baselines or Path("results/baselines") / name)
    opened = open_entry(entry, settings, fixed)
    same, text = recompute(opened, settings, fixed)
    print(text, flush=True)
    if same:
        same, text = reproduce_entry(opened, settings, fixed, seed, tasks, run_its_code)
        print(text)
    raise typer.Exit(0 if same else 1)


@app.command()
def power(
    scale: Annotated[str, typer.Option(help="A scale whose baselines are committed, e.g. tiny.")] = "tiny",
    difference: Annotated[float, typer.Option(min=0.01, max=100, help="That is to be found, in points.")] = 2.0,
    replicates: Annotated[int, typer.Option(min=2, max=100, help="Of the studies that are simulated.")] = 5,
    baselines: Annotated[Path | None, typer.Option(help="By default those of the scale.")] = None,
) -> None:
    """Say what a comparison with the baselines can see: how many replicates a difference takes, what is detectable."""
    from prerl.compare.baselines import Baselines
    from prerl.compare.power import power as run

    print(run(Baselines(baselines or Path("results/baselines") / Path(scale).stem), difference / 100, replicates))


@app.command()
def check_baselines(
    scale: ScaleFile = Path("workflow/scales/tiny.yaml"),
    baselines: Annotated[Path | None, typer.Option(help="By default those of the scale.")] = None,
    method: Annotated[str, typer.Option(help="A baseline.")] = "grpo",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    tasks: Annotated[Path, typer.Option(help="Directory of the lm-eval task files.")] = Path("workflow/tasks"),
) -> None:
    """Run one baseline again, and say whether this machine reproduces it."""
    from prerl.compare.baselines import Baselines
    from prerl.compare.reproduce import reproduce

    found = Baselines(baselines or Path("results/baselines") / scale.stem)
    same, text = reproduce(load_scale(scale), found, method, seed, tasks)
    print(text)
    raise typer.Exit(0 if same else 1)


@app.command()
def bench(
    scale: ScaleFile = Path("workflow/scales/tiny.yaml"),
    quick: Annotated[bool, typer.Option(help="A minute: how long the study takes on this machine.")] = False,
    results: Annotated[Path | None, typer.Option(help="Where the base model and the problem sets are.")] = None,
    out: Annotated[Path | None, typer.Option(help="Directory to write to.")] = None,
    prompts: Annotated[int | None, typer.Option(min=1, help="In a batch; by default the scale's.")] = None,
    group: Annotated[int | None, typer.Option(min=2, help="Responses a prompt; by default the scale's.")] = None,
    length: Annotated[int | None, typer.Option(min=1, help="Most tokens a response; by default the scale's.")] = None,
    growth: Annotated[bool, typer.Option(help="Also speed and memory against batch, length and model size.")] = False,
    where: Annotated[bool, typer.Option(help="Nothing is measured: where the time of a made study went.")] = False,
) -> None:
    """Measure speed side by side with TRL, transformers and vLLM, each in a process of its own; or how long a study
    takes, or took."""
    settings = load_scale(scale)
    if quick:
        from prerl.bench.quick import quick as look

        print(look(settings, Path("results/baselines") / scale.stem / "bases"))
        return
    if results is None or out is None:
        raise UserError("bench: give --results and --out, or --quick")
    if where:
        from prerl.bench.where import METADATA
        from prerl.bench.where import where as look

        print(look(results, METADATA, out))
        return
    from prerl.bench.report import bench as run
    from prerl.bench.report import draw_growth, grow

    rl = settings.rl
    sizes = {"prompts": prompts or rl.prompts_per_step, "group": group or rl.group_size}
    print(run(scale, settings, results, sizes | {"length": length or rl.max_new_tokens}, out))
    if growth:
        draw_growth(grow(settings.threads, out), out)


@app.command()
def bench_gpu(out: Out) -> None:
    """Measure what this machine's GPU does: the local engine beside the CPU's, and TRL's trainer."""
    from prerl.bench.gpu import gpu

    print(gpu(out))
