"""From problem sets to trained, evaluated and analysed models."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prerl.commands import (
    CATALOG,
    DATA_DIR,
    METHODS,
    CatalogFile,
    DataDir,
    MethodsFile,
    Out,
    ProblemSets,
    ScaleFile,
    app,
)
from prerl.errors import UserError, known
from prerl.settings.methods import check_methods, find_method, fit_methods, load_methods
from prerl.settings.reading import check
from prerl.settings.scale import Architecture, load_scale
from prerl.settings.tuning import Tuned, check_tuned, chosen

if TYPE_CHECKING:
    from prerl.problems.public import PublicSet


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
    sets = public_sets(scale, catalog)
    if settings.world == "countdown":
        try:
            return write_problem_sets(settings, out)
        except ValueError as error:
            raise UserError(f"{scale}: problems: {error}") from error
    from prerl.model.tokens import Tokens

    if model is None:
        raise UserError(f"{scale}: problems: prompts need a chat template; give --model")
    write_public_sets(settings, sets, data_dir, Tokens(model).tokenizer, out)


@app.command()
def fetch(
    names: Annotated[list[str] | None, typer.Argument(help="Public problem sets.")] = None,
    scale: Annotated[Path | None, typer.Option(help="A scale file: all that it needs.")] = None,
    data_dir: DataDir = DATA_DIR,
    catalog: CatalogFile = CATALOG,
) -> None:
    """Download problem sets and models at pinned revisions, and check them; later stages need no network."""
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
        from prerl.base.published import fetch_model

        print(fetch_model(found, data_dir))
    if load_scale(scale).evaluation.lm_eval:
        from prerl.evaluation.evaluate import own_tasks

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
    methods: MethodsFile = METHODS,
) -> None:
    """Reckon jobs, GPU-hours, memory, disk, tokens and cost of a scale; refuse what cannot fit. Starts nothing."""
    from prerl.plan import show_plan

    settings, named = load_scale(scale), load_methods(methods)
    check_tuned(str(scale), settings, named)
    show_plan(scale, assume or [], public_sets(scale, catalog), fit_methods(settings, named))


@app.command()
def base(
    scale: ScaleFile,
    out: Out,
    seed: Annotated[
        int, typer.Option(min=0, help="Draws the weights and the documents; no part of a published one.")
    ] = 0,
    data_dir: DataDir = DATA_DIR,
    bases: Annotated[Path | None, typer.Option(help="A directory of committed base models, to take it from.")] = None,
) -> None:
    """Pretrain the base model of a seed (resumes after a kill), or take a committed or a published one."""
    settings = load_scale(scale)
    if bases:
        from prerl.base.committed import take_base

        take_base(settings, bases, seed, out)
    elif isinstance(settings.model, Architecture):
        from prerl.base.pretrain import pretrain

        pretrain(settings, seed, out)
    else:
        from prerl.base.published import import_model

        import_model(settings.model, data_dir, out)


@app.command()
def train(
    scale: ScaleFile,
    out: Out,
    method: Annotated[str, typer.Option(help="A method's name.")],
    seed: Annotated[int, typer.Option(min=0)],
    model: Annotated[Path, typer.Option(help="Directory of the model to start from.")],
    problems: ProblemSets,
    methods: MethodsFile = METHODS,
    learning_rate_factor: Annotated[
        float | None, typer.Option(help="Times the method's own learning rates, instead of what the scale tuned.")
    ] = None,
    warm_ups: Annotated[
        float | None, typer.Option(help="Times the length of the method's warm-ups, instead of what the scale tuned.")
    ] = None,
    tuned: Annotated[
        Path | None, typer.Option(help="choices.yaml of `prerl sensitivity`, instead of what the scale tuned.")
    ] = None,
) -> None:
    """Train one method from one seed. Resumes after a kill."""
    settings = load_scale(scale)
    if tuned:
        settings = settings.tuned_to(method, chosen(tuned, method))
    values = {"learning_rate_factor": learning_rate_factor, "warm_ups": warm_ups}
    if values := {key: value for key, value in values.items() if value is not None}:
        settings = settings.tuned_to(method, check(Tuned, values, "prerl train"))
    found = find_method(methods, method, settings)
    only = {"methods": [method], "further": [], "ablations": []}
    check_methods(str(scale), settings.model_copy(update=only), {method: found})
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
    tasks: Annotated[Path, typer.Option(help="Directory of the lm-eval task files.")] = Path("workflow/tasks"),
) -> None:
    """Sample responses to the scale's benchmarks through lm-eval, and score them."""
    settings = load_scale(scale)
    from prerl.evaluation.evaluate import evaluate as run

    run(settings, model, problems, tasks, out)


@app.command()
def align_base(
    scale: ScaleFile,
    out: Out,
    problems: ProblemSets,
    model: Annotated[Path, typer.Option(help="Directory of the model.")],
    seed: Annotated[int, typer.Option(min=0, help="The base's: each has problems of its own.")] = 0,
    methods: MethodsFile = METHODS,
) -> None:
    """Compare the gradients of log P(y) and log P(y|x) on a base's rollouts, and methods' updates on its batches."""
    settings = load_scale(scale)
    found = fit_methods(settings, load_methods(methods))
    from prerl.evaluation.alignment import align_base as run

    run(settings, found, seed, model, problems, out)


@app.command()
def align_run(
    scale: ScaleFile,
    out: Out,
    problems: ProblemSets,
    run: Annotated[Path, typer.Option(help="Directory of the training run.")],
) -> None:
    """Compare the gradients of log P(y) and log P(y|x) on rollouts of a run's checkpoints, at the scale's steps."""
    settings = load_scale(scale)
    from prerl.evaluation.alignment import align_run as along

    along(settings, run, problems, out)


def public_sets(scale: Path, catalog: Path) -> dict[str, "PublicSet"]:
    """The public problem sets of a scale, by name. Raises UserError if the scale asks for more than there is."""
    from prerl.problems.public import load_catalog
    from prerl.problems.sets import check_sizes

    settings = load_scale(scale)
    problems = settings.problems
    names = [problems.train, *problems.benchmarks] if problems.world == "public" else []
    sets = find_sets(load_catalog(catalog), names)
    try:
        check_sizes(settings, sets)
    except ValueError as error:
        raise UserError(f"{scale}: {error}") from error
    return sets


def find_sets(sets: dict[str, "PublicSet"], names: list[str]) -> dict[str, "PublicSet"]:
    return {name: sets[name] for name in known(names, sets, "problem set")}
