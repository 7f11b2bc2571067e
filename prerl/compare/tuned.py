"""Which methods of a comparison were tuned, and whether alike."""

from pathlib import Path

from prerl.compare.baselines import Baselines
from prerl.errors import UserError
from prerl.settings.methods import Method, fit_methods
from prerl.settings.reading import difference
from prerl.settings.scale import Scale
from prerl.settings.tuning import Tuned, chosen

CHOICES = Path("sensitivity/summary/choices.yaml")  # of a new method, below its directory


def check_tuning(baselines: Baselines, scale: Scale) -> None:
    """Raises UserError if a new method cannot be tuned at a scale as the baselines were: by the same candidates, rule
    and seeds, from the same base model."""
    made = baselines.record.get("tuning")
    if scale.tuning is None or made is None:
        where = "the scale" if scale.tuning is None else f"{baselines.path}: the scale of the baselines"
        raise UserError(f"tune: true: {where} has no section `tuning`, which says what is tried")
    if found := difference(made, scale.tuning.model_dump()):
        raise UserError(f"tune: true: {baselines.path}: tuned otherwise (tuning.{found}): undo the change")
    base = baselines.path / f"bases/seed{scale.tuning.base_seed}/run.json"
    if scale.pretrain and not base.is_file():
        raise UserError(f"tune: true: {base}: not there: the base model of the tuning comes with the baselines")


def tuned_values(baselines: Baselines, name: str, method: Method, runs: Path) -> dict[str, Tuned]:
    """What each tuned method was tuned to, the new one among them; its choices lie below `runs`, its directory."""
    there = {key: Tuned.model_validate(values) for key, values in baselines.record.get("tuned", {}).items()}
    return there | ({name: chosen(runs / CHOICES, name)} if method.tune else {})


def as_tuned(scale: Scale, name: str, method: Method, tuned: dict[str, Tuned]) -> Method:
    """A new method, given as its file has it, as it was trained."""
    scale = scale.tuned_to(name, tuned[name]) if name in tuned else scale
    return fit_methods(scale, {name: method})[name]


def tuned_alike(name: str, tuned: dict[str, Tuned], labels: dict[str, str]) -> str:
    """Who was tuned and who was not, in words; `labels` of all methods, the new one among them."""
    others = [key for key in labels if key != name]
    untuned = [labels[key] for key in others if key not in tuned]
    if name in tuned and not untuned:
        return (
            f"{labels[name]} and all baselines were tuned alike, on a base model and seeds that are not compared here."
        )
    if name in tuned:
        return (
            f"{labels[name]} was tuned, but these were not: {' · '.join(untuned)}: against them some of it is tuning."
        )
    if len(untuned) < len(others):
        return (
            f"{labels[name]} was not tuned, {len(others) - len(untuned)} of {len(others)} baselines were: it might do "
            "better at another learning rate; `tune: true` in its file tunes it as they were."
        )
    return f"Neither {labels[name]} nor the baselines were tuned."
