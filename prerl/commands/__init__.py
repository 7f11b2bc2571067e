"""The subcommands of `prerl`, and the options that several of them share."""

import os
from pathlib import Path
from typing import Annotated

import typer

# Read when the heavy libraries are imported, which each stage does for itself.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="One subcommand a stage. Snakemake calls nothing else; each works alone too.",
    pretty_exceptions_enable=False,
)

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
ReportedFile = Annotated[Path, typer.Option(help="What the paper is reported to claim.")]
REPORTED = Path("paper/reported.yaml")
ENTRIES = Path("results/entries")
CAPTIONS, CATALOG, DATA_DIR = Path("workflow/report"), Path("workflow/problems.yaml"), Path("results/data")
