"""What a study's seeds can tell apart, before it is run: for each claim with a reported difference in accuracy the
smallest difference that they find with 80 %, and how many seeds the reported one takes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from scipy import special

from prerl.settings.plan import Deviations

POWER, LEVEL = 0.8, 0.95
MOST = 50  # seeds that are tried
# Claim -> what its accuracy is of, and the reported difference in points at a model's key of the reported file.
CLAIMED: dict[str, tuple[str, Callable[[dict[str, Any], str], float]]] = {
    "dsrl-beats-grpo": ("in_domain", lambda found, model: found[model]["dsrl"] - found[model]["grpo"]),
    "warmup-space-matters": ("in_domain", lambda found, _: found["nsr_rl_then_grpo"] - found["grpo"]),
    "dsrl-ood": ("out_of_domain", lambda found, model: found["gpqa_diamond"][model]),
}


@dataclass(frozen=True)
class Prospect:
    """A claim's reported difference, and what a design makes of it; in points."""

    claim: str
    reported: float
    detectable: float | None  # None: no deviation is known
    needed: int | None  # seeds that find the reported difference; None: more than MOST, or no deviation is known

    @property
    def hidden(self) -> bool:
        """Whether the reported difference is smaller than what is found with 80 %."""
        return self.detectable is not None and self.detectable > abs(self.reported)


def prospects(reported: list[dict[str, Any]], model: str, deviations: Deviations, seeds: int) -> Iterator[Prospect]:
    """What so many seeds can find of each reported difference; `model` names it there, e.g. qwen3-4b."""
    for entry in reported:
        if entry["id"] not in CLAIMED:
            continue
        role, difference = CLAIMED[entry["id"]]
        size, deviation = difference(entry["reported"], model), getattr(deviations, role)
        if deviation is None:
            yield Prospect(entry["id"], size, None, None)
            continue
        enough = (count for count in range(2, MOST + 1) if detectable(deviation, count) <= abs(size))
        yield Prospect(entry["id"], size, detectable(deviation, seeds), next(enough, None))


def detectable(deviation: float, seeds: int) -> float:
    """The smallest difference of two methods that so many seeds of each find with 80 % at 95 %, by the t distribution;
    of one seed, which tells nothing of its spread, as if the deviation were known for certain."""
    error = deviation * (2 / seeds) ** 0.5
    if seeds == 1:
        return error * float(special.ndtri((1 + LEVEL) / 2) + special.ndtri(POWER))
    freedom = 2.0 * (seeds - 1)
    bound = float(special.stdtrit(freedom, (1 + LEVEL) / 2))
    return error * float(special.nctdtrinc(freedom, 1 - POWER, bound))
