"""Accuracy by the length of DSRL's warm-up. Needs no torch."""

from collections.abc import Iterator
from typing import Any

from prerl.analysis.counts import AllRuns, Runs
from prerl.analysis.scores import IN_DOMAIN, Estimator, averaged, by_benchmark
from prerl.metrics import Array
from prerl.resampling import interval_freedom
from prerl.settings.methods import Method

LENGTH = {"steps", "warm_ups"}  # keys of a phase


def warm_up_lengths(methods: dict[str, Method]) -> dict[str, int]:
    """The methods that are DSRL but for the length of its warm-up, GRPO (length 0) included, by that length."""
    if not {"dsrl", "grpo"} <= set(methods):
        return {}
    warm_up, *rest = methods["dsrl"].phases
    lengths = {"grpo": 0}
    for name, method in methods.items():
        first, *others = method.phases
        alike = first.model_dump(exclude=LENGTH) == warm_up.model_dump(exclude=LENGTH)
        if alike and others == rest and first.steps:
            lengths[name] = first.steps
    return dict(sorted(lengths.items(), key=lambda item: item[1]))


def warm_ups(
    tests: AllRuns, methods: dict[str, Method], steps: int, in_domain: list[str], estimate: Estimator
) -> Iterator[dict[str, Any]]:
    """avg@n by length of the warm-up, of the `steps` updates of a run; and the paired difference of DSRL, as it is, to
    each other length (`contrast`). Several benchmarks `in_domain` have a mean too."""
    lengths = {name: length for name, length in warm_up_lengths(methods).items() if name in tests}
    if "dsrl" not in lengths:
        return
    shares = {name: _shares(tests[name], in_domain) for name in lengths}
    for benchmark, (of_dsrl, weights) in shares["dsrl"].items():
        for name, length in lengths.items():
            share, _ = shares[name][benchmark]
            where = {"benchmark": benchmark, "method": name, "length": length, "share": length / steps}
            mean = estimate.of(name, benchmark)(share * weights, weights)
            yield where | {"contrast": False} | mean
            if name != "dsrl":
                difference = (of_dsrl - share) * weights
                found = estimate.of("contrast", name, benchmark)(difference, weights)
                yield where | {"contrast": True} | found | {"freedom": interval_freedom(difference)}


def _shares(runs: Runs, in_domain: list[str]) -> dict[str, tuple[Array, Array]]:
    """avg@n and the weights of problems, (seeds, problems) each, by benchmark."""
    found = {benchmark: (right / n, right * 0 + 1) for benchmark, right, n in by_benchmark(runs)}
    return ({IN_DOMAIN: averaged(runs, in_domain)[:2]} if len(in_domain) > 1 else {}) | found
