"""At which level a comparison is made: one of many looks, of many baselines, of many variants."""

import numpy as np
from scipy import special

from prerl.compare.variance import Difference
from prerl.errors import UserError
from prerl.metrics import Array
from prerl.seeds import seed_of

ERROR = 0.05  # of the primary comparison, and of the others together
LOOKS = (3, 5, 8)  # replicates after which a comparison may stop
DRAWS = 100_000  # of the largest of many t values
FEW = 100  # draws beyond the level; with fewer Bonferroni's is taken


def spent(look: int, error: float = ERROR) -> float:
    """The part of the error that a look, from 1, may spend.

    By Lan and DeMets's function (1983) in the manner of O'Brien and Fleming, 2 - 2 Phi(z / sqrt(t)) at the share t of
    all replicates: little early, so that the last look has nearly the whole. Each look has the increment for itself,
    so that all together keep the error however they depend on each other.
    """
    bound = float(special.ndtri(1 - error / 2))
    ends = [0.0, *(2 * float(special.ndtr(-bound / np.sqrt(size / LOOKS[-1]))) for size in LOOKS)]
    return ends[look] - ends[look - 1]


def level_of(look: int | None, variants: int) -> float:
    """The level of a comparison: 95 % where there is one look and one variant, else what the look may spend, and each
    of the variants compared on a checkout alike (Bonferroni)."""
    error = ERROR / variants
    return 1 - (spent(look, error) if look else error)


def replicates(common: list[int], primary: list[int], look: int | None) -> list[int]:
    """The seeds of the new method's runs: the first LOOKS[look - 1] of those of the `primary` baseline; without a look
    the `common` ones, which all baselines have. Raises UserError if the primary one has too few for the look."""
    if look is None:
        return common
    wanted = LOOKS[look - 1]
    if len(primary) < wanted:
        raise UserError(
            f"--config: look: {look} takes {wanted} replicates, and the baselines have {len(primary)} of the one that "
            "the new method is mainly compared with; leave look out, or take a smaller one"
        )
    return primary[:wanted]


def each_of(differences: list[Difference], correlation: Array, level: float, draws: int = DRAWS) -> float:
    """The level of each of several intervals, all of which are to hold at once with the given one (max-T).

    By simulation from a fixed seed, in the manner of Dunnett (1955): t values with this correlation (comparisons,
    comparisons), each with its own degrees of freedom, whose errors of scale are taken to go together. The error of
    each is the quantile of the smallest p among them; intervals are never wider than Bonferroni's.
    """
    error, size = 1 - level, len(differences)
    if size == 1:
        return level
    if error * draws < FEW:
        return 1 - error / size
    generator = np.random.default_rng(seed_of("max-t"))
    values, vectors = np.linalg.eigh(correlation)
    drawn = generator.normal(size=(draws, size)) @ (vectors * np.sqrt(values.clip(0))).T
    scale, smallest = generator.random(draws), np.ones(draws)
    freedoms = np.array([one.freedom for one in differences])
    for freedom in np.unique(freedoms):
        largest = np.abs(drawn[:, freedoms == freedom]).max(1)
        largest = largest / np.sqrt(special.gammaincinv(freedom / 2, scale) * 2 / freedom)
        smallest = np.minimum(smallest, 2 * special.stdtr(freedom, -largest))
    return 1 - min(max(float(np.quantile(smallest, error)), error / size), error)
