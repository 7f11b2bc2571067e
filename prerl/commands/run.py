"""From base models to trained, evaluated and analysed ones."""

import os
from pathlib import Path
from typing import Annotated

import typer

from prerl.commands import (
    CATALOG,
    METHODS,
    REPORTED,
    CatalogFile,
    MethodsFile,
    Out,
    ProblemSets,
    ReportedFile,
    ScaleFile,
    app,
)
from prerl.commands.start import public_sets
from prerl.settings.methods import check_methods, find_method, fit_methods, load_methods
from prerl.settings.reading import check
from prerl.settings.scale import load_scale
from prerl.settings.tuning import Tuned, check_tuned, chosen


@app.command()
def plan(
    scale: ScaleFile,
    assume: Annotated[
        list[str] | None, typer.Option(help="Another assumption, KEY=VALUE, e.g. gpu_hour_price=1.9; may be repeated.")
    ] = None,
    catalog: CatalogFile = CATALOG,
    methods: MethodsFile = METHODS,
    reported: ReportedFile = REPORTED,
) -> None:
    """Reckon jobs, GPU-hours, memory, disk, tokens and cost of a scale, or its hours on this machine's CPU; refuse what
    cannot fit. Starts nothing."""
    from prerl.bench.estimate import plan_here
    from prerl.plan import show_plan

    settings, named = load_scale(scale), load_methods(methods)
    check_tuned(str(scale), settings, named)
    fitted, sets = fit_methods(settings, named), public_sets(scale, catalog)
    if settings.engine.name == "local" and settings.engine.device == "cpu" and not assume:
        check_methods(str(scale), settings, fitted)
        typer.echo(plan_here(scale, settings, os.cpu_count() or 1))
    else:
        show_plan(scale, assume or [], sets, fitted, reported)


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
