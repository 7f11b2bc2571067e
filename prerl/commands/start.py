"""What a study starts from: problem sets and base models."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prerl.commands import CATALOG, DATA_DIR, CatalogFile, DataDir, Out, ScaleFile, app
from prerl.errors import UserError, known
from prerl.settings.scale import Architecture, load_scale

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
    from prerl.problems.sets import write_arithmetic_sets, write_problem_sets, write_public_sets

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
    tokenizer = Tokens(model).tokenizer
    if settings.world == "public":
        return write_public_sets(settings, sets, data_dir, tokenizer, out)
    try:
        write_arithmetic_sets(settings, tokenizer, out)
    except ValueError as error:
        raise UserError(f"{scale}: problems: {error}") from error


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
def prime(
    scale: ScaleFile,
    out: Out,
    seed: Annotated[int, typer.Option(min=0, help="Draws the problems and their solutions.")],
    model: Annotated[Path, typer.Option(help="Directory of the model to start from.")],
) -> None:
    """Teach a published model worked solutions, a share of which check themselves. Resumes after a kill."""
    settings = load_scale(scale)
    if settings.prime is None:
        raise UserError(f"{scale}: prime: this scale primes no model")
    from prerl.base.prime import prime as run

    run(settings, seed, model, out)


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
