import numpy as np
import pandas as pd
import pytest

from prerl.analysis.scores import IN_DOMAIN, Estimator
from prerl.analysis.warm_ups import warm_up_lengths, warm_ups
from prerl.settings.methods import fit_methods, load_methods
from prerl.settings.scale import load_scale
from tests.helpers import METHODS_FILE, SMOKE_FILE, changed

NAMES = ["grpo", "dsrl", "dsrl-half", "dsrl-double", "dsrl-quadruple", "dsrl-reversed", "dsrl-slow", "dsrl-reset"]
SHARES = {"grpo": 2, "dsrl-half": 4, "dsrl": 6, "dsrl-quadruple": 0}  # of ten responses


@pytest.fixture
def fitted():
    scale = load_scale(SMOKE_FILE)
    scale = changed(scale, rl=changed(scale.rl, steps=120, warm_up=10), tuned={})
    methods = load_methods(METHODS_FILE)
    return fit_methods(scale, {name: methods[name] for name in NAMES})


def test_lengths_are_those_of_what_differs_from_dsrl_in_nothing_else(fitted):
    assert warm_up_lengths(fitted) == {"grpo": 0, "dsrl-half": 5, "dsrl": 10, "dsrl-double": 20, "dsrl-quadruple": 40}
    assert warm_up_lengths({name: fitted[name] for name in NAMES[1:]}) == {}


def run(right, names):
    return pd.concat(
        pd.DataFrame({"benchmark": name, "problem": [f"p{p}" for p in range(9)], "n": 10, "correct": right * (1 + i)})
        for i, name in enumerate(names)
    )


def test_each_length_and_what_dsrl_has_more(fitted):
    tests = {name: {seed: run(right / 2, ["a", "b"]) for seed in (0, 1)} for name, right in SHARES.items()}
    tests = {name: {seed: one.astype({"correct": int}) for seed, one in runs.items()} for name, runs in tests.items()}
    rows = pd.DataFrame(warm_ups(tests, fitted, 120, ["a", "b"], Estimator(50, np.random.default_rng(0))))
    own = rows[(rows.benchmark == "b") & ~rows.contrast].set_index("method")
    assert own.length.to_dict() == {"grpo": 0, "dsrl-half": 5, "dsrl": 10, "dsrl-quadruple": 40}
    assert own.share["dsrl-quadruple"] == pytest.approx(1 / 3) and own.estimate["dsrl"] == pytest.approx(0.6)
    less = rows[(rows.benchmark == "b") & rows.contrast].set_index("method").estimate
    assert less.to_dict() == pytest.approx({"grpo": 0.4, "dsrl-half": 0.2, "dsrl-quadruple": 0.6})
    mean = rows[(rows.benchmark == IN_DOMAIN) & rows.contrast].set_index("method").estimate
    assert mean["dsrl-half"] == pytest.approx((0.1 + 0.2) / 2)
    assert not [*warm_ups(tests, {"grpo": fitted["grpo"]}, 120, ["a"], Estimator(50, np.random.default_rng(0)))]
