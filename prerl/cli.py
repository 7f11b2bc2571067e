"""The `prerl` command: one subcommand a stage. Snakemake calls nothing else; each works alone too."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prerl.config import load_scale
from prerl.errors import UserError
from prerl.methods import check_methods, find_method, load_methods

if TYPE_CHECKING:
    from prerl.problems.public import PublicSet

# Read when the heavy libraries are imported, which each stage does for itself.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)

ScaleFile = Annotated[Path, typer.Option("--scale", help="A scale file, e.g. workflow/scales/tiny.yaml.")]
MethodsFile = Annotated[Path, typer.Option("--methods", help="The file of methods.")]
LexiconFile = Annotated[Path, typer.Option("--lexicon", help="Words that mark each behaviour.")]
Out = Annotated[Path, typer.Option("--out", help="Directory to write to; made if missing.")]
Results = Annotated[Path, typer.Option("--results", help="The scale's results, e.g. results/tiny.")]
ProblemSets = Annotated[Path, typer.Option("--problems", help="Directory of the problem sets.")]
Captions = Annotated[Path, typer.Option("--captions", help="Directory of the captions, NAME.rst.")]
METHODS, LEXICON = Path("workflow/methods.yaml"), Path("workflow/lexicons/countdown.yaml")
BaselinesDir = Annotated[Path, typer.Option("--baselines", help="E.g. results/baselines/tiny.")]
DataDir = Annotated[Path, typer.Option(help="Where what was downloaded is kept.")]
CatalogFile = Annotated[Path, typer.Option(help="The catalogue of public problem sets.")]
CAPTIONS, CATALOG, DATA_DIR = Path("workflow/report"), Path("workflow/problems.yaml"), Path("results/data")


@app.command()
def problems(
    scale: ScaleFile,
    out: Out,
    model: Annotated[Path | None, typer.Option(help="Directory of the model; its chat template is used.")] = None,
    data_dir: DataDir = DATA_DIR,
    catalog: CatalogFile = CATALOG,
) -> None:
    """Write the problem sets: dev, the benchmarks, and the training set if problems are not drawn without end."""
    from prerl.problems.sets import write_problem_sets, write_public_sets

    settings = load_scale(scale).problems
    try:
        if settings.world == "countdown":
            write_problem_sets(settings, out)
            return
    except ValueError as error:
        raise UserError(f"{scale}: problems: {error}") from error
    from transformers import AutoTokenizer

    if model is None:
        raise UserError(f"{scale}: problems: prompts need a chat template; give --model")
    tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
    write_public_sets(settings, public_sets(scale, catalog), data_dir, tokenizer, out)


@app.command()
def fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Public problem sets.")] = None,
    scale: Annotated[Path | None, typer.Option(help="A scale file: all that it needs.")] = None,
    data_dir: DataDir = DATA_DIR,
    catalog: CatalogFile = CATALOG,
) -> None:
    """Download problem sets and models at pinned revisions, and check them; later stages need no network."""
    from prerl.config import Architecture
    from prerl.problems.public import fetch as bring
    from prerl.problems.public import load_catalog

    for name, entry in find_sets(load_catalog(catalog), names or []).items():
        print(bring(name, entry, data_dir))
    if scale is None:
        return
    for name, entry in public_sets(scale, catalog).items():
        print(bring(name, entry, data_dir))
    os.environ["HF_HUB_OFFLINE"] = "0"  # before the hub's library is imported
    if not isinstance(found := load_scale(scale).model, Architecture):
        from prerl.published import fetch_model

        print(fetch_model(found, data_dir))
    if load_scale(scale).evaluation.lm_eval:
        from prerl.evaluate import own_tasks

        for name in load_scale(scale).evaluation.lm_eval:
            own_tasks(name)
            print(f"lm-eval's {name}")


@app.command()
def plan(
    scale: ScaleFile,
    assume: Annotated[
        list[str] | None, typer.Option(help="Another assumption, KEY=VALUE, e.g. gpu_hour_price=1.9; may be repeated.")
    ] = None,
    catalog: CatalogFile = CATALOG,
) -> None:
    """Reckon jobs, GPU-hours, memory, disk, tokens and cost of a scale; refuse what cannot fit. Starts nothing."""
    from prerl.plan import show_plan

    show_plan(scale, assume or [], public_sets(scale, catalog))


@app.command()
def base(
    scale: ScaleFile,
    out: Out,
    data_dir: DataDir = DATA_DIR,
    baselines: Annotated[Path | None, typer.Option(help="Take the base model of these baselines.")] = None,
) -> None:
    """Pretrain the base model (resumes after a kill), or take a published one, or that of baselines."""
    settings = load_scale(scale)
    if baselines:
        from prerl.baselines import Baselines

        found = Baselines(baselines)
        found.check_fit(settings)
        found.take_base(out)
    elif settings.pretrain is None:
        from prerl.published import import_model

        import_model(settings.model, data_dir, out)
    else:
        from prerl.base import pretrain

        pretrain(settings, out)


@app.command()
def train(
    scale: ScaleFile,
    out: Out,
    method: Annotated[str, typer.Option(help="A method's name.")],
    seed: Annotated[int, typer.Option(min=0)],
    model: Annotated[Path, typer.Option(help="Directory of the model to start from.")],
    problems: ProblemSets,
    methods: MethodsFile = METHODS,
) -> None:
    """Train one method from one seed. Resumes after a kill."""
    found, settings = find_method(methods, method), load_scale(scale)
    check_methods(str(scale), settings.model_copy(update={"methods": [], "ablations": [method]}), {method: found})
    if settings.engine.name == "local":
        from prerl.engines.local import train as run
    else:
        from prerl.engines.launch import launch

        launch(settings.engine, scale)  # returns in each process that it starts
        from prerl.engines.trl import train as run
    run(settings, method, found, seed, model, problems, out)


@app.command()
def evaluate(
    scale: ScaleFile,
    out: Out,
    model: Annotated[Path, typer.Option(help="Directory of the model to evaluate.")],
    problems: ProblemSets,
    tasks: Annotated[Path, typer.Option(help="Directory of the lm-eval task files.")] = Path("workflow/benchmarks"),
) -> None:
    """Sample responses to the scale's benchmarks through lm-eval, and score them."""
    settings = load_scale(scale)
    from prerl.evaluate import evaluate as run

    run(settings, model, problems, tasks, out)


@app.command()
def align_base(
    scale: ScaleFile,
    out: Out,
    problems: ProblemSets,
    model: Annotated[Path, typer.Option(help="Directory of the model.")],
) -> None:
    """Compare the gradients of log P(y) and log P(y|x), rollout by rollout."""
    settings = load_scale(scale)
    from prerl.alignment import align_base as run

    run(settings, model, problems, out)


@app.command()
def align_run(
    scale: ScaleFile,
    out: Out,
    problems: ProblemSets,
    run: Annotated[Path, typer.Option(help="Directory of the training run.")],
) -> None:
    """The same comparison along a training run."""
    settings = load_scale(scale)
    from prerl.alignment import align_run as along

    along(settings, run, problems, out)


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
) -> None:
    """Reduce all runs to tidy tables of estimates with 95 % intervals."""
    from prerl.behaviour import load_lexicon
    from prerl.summary import summarize as run

    chosen = {name: find_method(methods, name) for name in names or []}
    run(load_scale(scale), chosen, load_lexicon(lexicon), results, out)


@app.command()
def claims(
    summary: Annotated[Path, typer.Option(help="Directory of the summaries.")],
    out: Annotated[Path, typer.Option(help="The file to write.")],
    reported: Annotated[Path, typer.Option(help="What the paper is reported to claim.")] = Path("paper/reported.yaml"),
    methods: MethodsFile = METHODS,
) -> None:
    """Confront each of the paper's claims with the runs: effect, interval, verdict."""
    from prerl.claims import write_claims
    from prerl.study import Study

    write_claims(Study(summary, load_methods(methods)), reported, out)


@app.command()
def tables(
    names: Annotated[list[str], typer.Argument(help="The tables to print.")],
    summary: Annotated[Path, typer.Option(help="Directory of the summaries.")],
    out: Out,
    methods: MethodsFile = METHODS,
    captions: Captions = CAPTIONS / "tables",
) -> None:
    """Print the summaries as tables: CSV, Markdown, LaTeX and JSON."""
    from prerl.tables import write_tables

    write_tables(names, summary, load_methods(methods), captions, out)


@app.command()
def figures(
    names: Annotated[list[str], typer.Argument(help="The figures to draw.")],
    summary: Annotated[Path, typer.Option(help="Directory of the summaries.")],
    out: Out,
    methods: MethodsFile = METHODS,
    captions: Captions = CAPTIONS / "figures",
) -> None:
    """Draw the figures: SVG, PDF and PNG."""
    from prerl.figures import draw_figures

    draw_figures(names, summary, load_methods(methods), captions, out)


@app.command()
def page(
    results: Results,
    summary: Annotated[Path, typer.Option(help="Directory of the summaries; tables and figures lie beside it.")],
    out: Annotated[Path, typer.Option(help="The HTML file to write.")],
    methods: MethodsFile = METHODS,
    lexicon: LexiconFile = LEXICON,
    template: Annotated[Path, typer.Option(help="The page's Jinja2 template.")] = Path("workflow/page/index.html"),
) -> None:
    """Put claims, figures, tables and samples into one page that works offline."""
    from prerl.behaviour import load_lexicon
    from prerl.page import write_page

    write_page(results, summary, load_methods(methods), load_lexicon(lexicon), template, out)


@app.command()
def paper(
    results: Results,
    out: Annotated[Path, typer.Option(help="The PDF to write.")],
    source: Annotated[Path, typer.Option(help="The paper's Typst file.")] = Path("paper/main.typ"),
    baselines: Annotated[Path, typer.Option(help="Reference results of all scales.")] = Path("results/baselines"),
) -> None:
    """Compile the paper from the tables and figures of a scale."""
    from prerl.paper import compile_paper

    compile_paper(source, results, baselines, out)


@app.command()
def baselines(
    scale: ScaleFile,
    results: Results,
    out: Out,
    methods: MethodsFile = METHODS,
    lexicon: LexiconFile = LEXICON,
) -> None:
    """Reduce the scale's runs to fixed baselines, with which new methods are compared."""
    from prerl.baselines import write_baselines
    from prerl.behaviour import load_lexicon

    settings = load_scale(scale)
    chosen = {name: find_method(methods, name) for name in settings.methods}
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
) -> None:
    """Compare a new method's runs with the baselines: summaries, tables, figures, a page, and a conclusion."""
    from prerl.baselines import Baselines
    from prerl.behaviour import load_lexicon
    from prerl.compare import FIGURES, TABLES
    from prerl.compare import compare as run
    from prerl.figures import draw_figures
    from prerl.page import write_comparison
    from prerl.tables import write_tables

    [(name, found)] = load_methods(method).items()
    fixed, summary = Baselines(baselines), out / "summary"
    print(run(load_scale(scale), fixed, name, found, load_lexicon(lexicon), results, summary))
    methods = fixed.methods() | {name: found}
    write_tables([*TABLES], summary, methods, captions / "tables", out / "tables")
    draw_figures([*FIGURES], summary, methods, captions / "figures", out / "figures")
    write_comparison(summary, methods, template, out / "index.html")


@app.command()
def check_baselines(
    scale: ScaleFile = Path("workflow/scales/tiny.yaml"),
    baselines: Annotated[Path | None, typer.Option(help="By default those of the scale.")] = None,
    method: Annotated[str, typer.Option(help="A baseline.")] = "grpo",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    tasks: Annotated[Path, typer.Option(help="Directory of the lm-eval task files.")] = Path("workflow/benchmarks"),
) -> None:
    """Run one baseline again, and say whether this machine reproduces it."""
    from prerl.baselines import Baselines
    from prerl.reproduce import reproduce

    found = Baselines(baselines or Path("results/baselines") / scale.stem)
    same, text = reproduce(load_scale(scale), found, method, seed, tasks)
    print(text)
    raise typer.Exit(0 if same else 1)


@app.command()
def bench(
    results: Results,
    out: Out,
    scale: ScaleFile = Path("workflow/scales/tiny.yaml"),
    prompts: Annotated[int | None, typer.Option(help="In a batch; by default the scale's.")] = None,
    group: Annotated[int | None, typer.Option(help="Responses a prompt; by default the scale's.")] = None,
    length: Annotated[int | None, typer.Option(help="Most tokens a response; by default the scale's.")] = None,
    growth: Annotated[bool, typer.Option(help="Also speed and memory against batch, length and model size.")] = False,
) -> None:
    """Measure speed side by side with TRL, transformers and vLLM, each in a process of its own."""
    from prerl.bench.report import bench as run
    from prerl.bench.report import draw_growth, grow

    settings = load_scale(scale)
    rl = settings.rl
    sizes = {"prompts": prompts or rl.prompts_per_step, "group": group or rl.group_size}
    print(run(scale, settings, results, sizes | {"length": length or rl.max_new_tokens}, out))
    if growth:
        draw_growth(grow(settings.threads, out), out)


def public_sets(scale: Path, catalog: Path) -> dict[str, "PublicSet"]:
    """The public problem sets of a scale, by name."""
    from prerl.problems.public import load_catalog

    settings = load_scale(scale).problems
    names = [settings.train, *settings.benchmarks] if settings.world == "public" else []
    return find_sets(load_catalog(catalog), names)


def find_sets(sets: dict[str, "PublicSet"], names: list[str]) -> dict[str, "PublicSet"]:
    from prerl.study import known

    return {name: sets[name] for name in known(names, sets, "problem set")}


def main() -> None:
    """Entry point: a user's mistake is one line and exit code 2."""
    try:
        app()
    except UserError as error:
        print(f"prerl: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":  # `python -m prerl.cli`, as launchers of several processes need it
    main()
