"""What comparisons with baselines can see: the difference found with 80 %, and how often they err, before any run."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import special

from prerl.analysis.scores import ALL
from prerl.compare.baselines import Baselines
from prerl.compare.differences import LEVEL, PRIMARY, at_an_end, measured
from prerl.compare.levels import each_of
from prerl.compare.variance import Difference, Pool, compare_cells, value
from prerl.errors import UserError
from prerl.metrics import Array
from prerl.seeds import seed_of

SIZES = (3, 4, 5, 6, 8, 12)  # replicates that the table is of
MOST = 200  # replicates that are tried for a difference
STUDIES = 1000  # simulated


@dataclass(frozen=True)
class Components:
    """What baselines tell of the variance of a difference over all benchmarks, in shares squared."""

    replicate: float  # of a method's mean in a replicate, the part shared by all methods aside
    problem: float  # of the difference of two methods, by their being measured on these problems
    pooled: int  # baselines whose spreads are alike
    outlying: list[str]  # the others
    family: int  # baselines beside the primary one
    problems: int
    benchmarks: list[str]
    left_out: dict[str, str]

    def difference(self, size: int) -> Difference:
        """As variable as one of a new method, which varies as the pooled do, after so many replicates of all."""
        part, more = self.replicate / size, 1 / self.pooled
        parts = [(part * (1 + more), size - 1.0)]
        if self.pooled > 1:
            parts.append((part * (1 - more), (self.pooled - 1.0) * (size - 1)))
        problems = [(self.problem, self.problems - 1.0)]
        return Difference(0.0, parts, problems, "pooled", list(range(size)), self.problems)

    def family_level(self, size: int) -> float:
        """The level of each comparison beside the primary one: half of the variance is the new method's own."""
        count = self.family
        alike = np.full((count, count), 0.5) + 0.5 * np.eye(count)
        return each_of([self.difference(size)] * count, alike, LEVEL) if count else LEVEL


def components(baselines: Baselines) -> Components:
    """The components of variance that fixed baselines tell. Raises UserError if these are single, or of one replicate,
    which tells nothing of variance."""
    tests, others = baselines.tests(), list(baselines.methods())
    named = list(baselines.record["identity"]["sampling settings"]["benchmarks"])
    left_out = at_an_end(tests, others, named)
    benchmarks = [name for name in named if name not in left_out]
    one = next(one for one in measured(tests, benchmarks) if one.benchmark == ALL)
    pool = Pool({name: {seed: value(cells) for seed, cells in one.cells[name].items()} for name in others})
    if not pool.freedom:
        raise UserError(f"{baselines.path}: the spread over replicates takes two baselines of two replicates each")
    pairs = [
        compare_cells(one.cells[first], one.cells[second], None, second)
        for first, second in combinations(pool.values, 2)
    ]
    problem = float(np.mean([sum(part for part, _ in pair.of_problems) for pair in pairs]))
    family = len([name for name in others if name != PRIMARY])
    sizes = (pairs[0].problems, benchmarks, left_out)
    return Components(pool.variance, problem, len(pool.values), pool.outlying, family, *sizes)


def power(baselines: Baselines, difference: float, size: int) -> str:
    """In words and a table: how many replicates a difference (a share) takes, what is detectable with some numbers of
    them, and the errors and detections of simulated studies with `size` replicates."""
    known = components(baselines)
    rows = [
        {
            "replicates": number,
            "standard error": _points(known.difference(number).error),
            "primary": _points(known.difference(number).detectable(LEVEL)),
            "family": _points(known.difference(number).detectable(known.family_level(number))) if known.family else "–",
        }
        for number in SIZES
    ]
    needed = {"the primary comparison": _needed(known, difference, False)}
    if known.family:
        needed[f"each of the {known.family} others, all at once,"] = _needed(known, difference, True)
    left = "; ".join(f"{name} is at its {end} and not counted" for name, end in known.left_out.items())
    out = f" Spread otherwise, so not pooled: {', '.join(known.outlying)}." if known.outlying else ""
    return "\n".join(
        [
            f"{baselines.path}: the mean over {', '.join(known.benchmarks)}{f' ({left})' if left else ''}.",
            f"A method's replicates deviate by {_points(known.replicate**0.5)} points beyond what all share, by "
            f"{known.pooled} baselines; problems add {_points(known.problem**0.5)} to a difference.{out}",
            *(
                f"{_points(difference)} points are found with 80 % by {who} with {count}."
                for who, count in needed.items()
            ),
            "",
            "Detectable with 80 %, in points, at 95 %, if new method and baselines have so many replicates:",
            pd.DataFrame(rows).to_string(index=False),
            "",
            *simulated(known, difference, size),
        ]
    )


def _needed(known: Components, difference: float, family: bool) -> str:
    for size in range(2, MOST + 1):
        found = known.difference(size)
        if found.detectable(LEVEL) > difference:
            continue
        if not family or found.detectable(known.family_level(size)) <= difference:
            return f"{size} replicates"
    return f"more than {MOST} replicates, or never: problems alone may hide it"


def simulated(known: Components, difference: float, size: int) -> list[str]:
    """Errors and detections of STUDIES simulated comparisons, a line each, with the nominal numbers beside."""
    errors = simulate(known, size, STUDIES)
    null, found = (decided(errors, shift, known.family_level(size)) for shift in (0.0, difference))
    noise = _per_cent((0.05 * 0.95 / STUDIES) ** 0.5)
    expected = [_chance(known, difference, size, level) for level in (LEVEL, known.family_level(size))]
    lines = [
        f"{STUDIES} simulated studies of {size} replicates (normal, with these components, through the whole procedure;"
        f" standard error {noise} at 5 %):",
        f"  no difference: the primary comparison errs in {_per_cent(null[0].mean())} (nominal 5.0 %)",
    ]
    if known.family:
        lines.append(f"  no difference: one or more of the others err in {_per_cent(null[1].any(1).mean())} (5.0 %)")
    lines.append(
        f"  {_points(difference)} points: the primary comparison finds them in {_per_cent(found[0].mean())} "
        f"({_per_cent(expected[0])} by the formula)"
    )
    if known.family:
        lines.append(
            f"  {_points(difference)} points: each of the others in {_per_cent(found[1].mean())} "
            f"({_per_cent(expected[1])} by the formula)"
        )
    return lines


def simulate(known: Components, size: int, studies: int, ratio: float = 1.0) -> list[list[Difference]]:
    """Differences of a new method from each baseline, in simulated studies without a true difference.

    Baselines and new method are drawn with what replicates share, the variance of each replicate (times ratio squared
    of the new method) and that of problems, and go through the pooling and the estimation of a real comparison. The
    primary one comes first; those in `outlying` are not drawn.
    """
    generator, found = np.random.default_rng(seed_of("power", size)), []
    names = [str(number) for number in range(known.pooled)]
    for _ in range(studies):
        drawn = generator.normal(size=(known.pooled + 1, size)) * known.replicate**0.5
        drawn[-1] *= ratio
        drawn += generator.normal(size=size) * known.replicate**0.5
        problem = generator.normal(size=known.pooled + 1) * (known.problem / 2) ** 0.5
        rows = [dict(enumerate(row)) for row in drawn.tolist()]
        pool = Pool(dict(zip(names, rows, strict=False)))
        parts = pool.of_replicates(rows[-1], size)
        study = []
        for place, name in enumerate(names):
            gap = drawn[-1] - drawn[place]
            kind = "pooled" if name in pool.values else "own"
            own = [(float(gap.var(ddof=1)) / size, size - 1.0)]
            estimate = float(gap.mean() + problem[-1] - problem[place])
            of_problems = [(known.problem, known.problems - 1.0)]
            some = parts if kind == "pooled" else own
            study.append(Difference(estimate, some, of_problems, kind, list(range(size)), known.problems))
        found.append(study)
    return found


def decided(studies: list[list[Difference]], shift: float, family_level: float) -> tuple[Array, Array]:
    """Whether the intervals of the primary comparison (studies,) and of the others (studies, others) leave out 0, were
    the new method better by `shift`."""
    estimates, errors, freedoms = (
        np.array([[getattr(one, name) for one in study] for study in studies])
        for name in ("estimate", "error", "freedom")
    )
    beyond = np.abs(estimates + shift) / errors
    primary = beyond[:, 0] > special.stdtrit(freedoms[:, 0], (1 + LEVEL) / 2)
    return primary, beyond[:, 1:] > special.stdtrit(freedoms[:, 1:], (1 + family_level) / 2)


def _chance(known: Components, difference: float, size: int, level: float) -> float:
    """To find a difference, by noncentral t."""
    one = known.difference(size)
    bound = float(special.stdtrit(one.freedom, (1 + level) / 2))
    return 1 - float(special.nctdtr(one.freedom, difference / one.error, bound))


def _points(value: float) -> str:
    return f"{100 * value:.2f}"


def _per_cent(value: float) -> str:
    return f"{100 * value:.1f} %"
