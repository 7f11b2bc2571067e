"""What `snakemake --config KEY=VALUE` may set."""

from pathlib import Path
from typing import Any, Literal

from prerl.errors import UserError
from prerl.settings.reading import check
from prerl.settings.values import Strict


class Options(Strict):
    """The keys of `--config`; without any the tiny scale's own study is made."""

    scale: str = "tiny"  # a file of workflow/scales, without its suffix
    method: str | None = None  # the file of a method that is to be compared with the baselines
    look: Literal["1", "2", "3"] | None = None  # of a comparison that may stop early, after 3, 5, or 8 replicates
    bases: Literal["committed", "fresh"] | None = None  # in place of what the scale says
    data_dir: str = "results/data"  # where what was downloaded is kept


def load_options(config: dict[str, Any], scales: Path) -> Options:
    """The options in Snakemake's `config`; `scales` is the directory of the scale files. Raises UserError, in one line,
    for an unknown key, one without a value, and a scale that is not there."""
    keys = list(Options.model_fields)
    for key, value in config.items():
        if key not in keys:
            raise UserError(f"--config: {key}: unknown key; there are {', '.join(keys)}")
        if isinstance(value, dict | list | None | bool) or not str(value).strip():
            raise UserError(f"--config: {key}: expected {key}=VALUE, got {value!r}")
    options = check(Options, {key: str(value) for key, value in config.items()}, "--config")  # Snakemake parses 4 as 4
    if options.method and options.bases == "fresh":
        raise UserError("--config: bases: a method is compared with baselines that started from the committed base")
    if options.look and not options.method:
        raise UserError("--config: look: it is one of comparing a method: give method=FILE.yaml too")
    there = sorted(path.stem for path in scales.glob("*.yaml"))
    if options.scale not in there:
        raise UserError(
            f"{scales / options.scale}.yaml: cannot be read, for it is not there; --config scale= takes one of "
            f"{', '.join(there)}"
        )
    return options
