import numpy as np
import pandas as pd
import pytest

from prerl.analysis.behaviour import Lexicon
from prerl.analysis.rates import behaviours
from prerl.analysis.scores import IN_DOMAIN, Estimator


def test_thoughts_are_counted_on_all_in_domain_benchmarks_alike():
    """On `small` NSR-PreRL thinks twice as often as the base, on `large` six times: by response and benchmark, the mean
    rates are 0.5 * (2 + 3) over 0.5 * (1 + 0.5)."""
    lexicon = Lexicon(split="[.]", thoughts={"transition": "but"}, behaviours={})

    def run(small, large):
        parts = [("small", 10, 2, small), ("large", 30, 4, large)]
        rows = [
            {"benchmark": name, "problem": f"p{p}", "n": n, "transition": n * rate(p), "execution": n, "tokens": 9 * n}
            for name, problems, n, rate in parts
            for p in range(problems)
        ]
        return pd.DataFrame(rows)

    tests = {"base": {0: run(lambda p: 1, lambda p: p % 2)}}
    tests["nsr-prerl"] = {0: run(lambda p: 2, lambda p: 3)}
    found = pd.DataFrame(behaviours(tests, lexicon, Estimator(100, np.random.default_rng(0)), ["small", "large"]))
    rates = found[(found.per == "response") & (found.behaviour == "transition")].set_index(["method", "benchmark"])
    assert rates.estimate["base", IN_DOMAIN] == pytest.approx(0.75)
    assert rates.estimate["nsr-prerl", IN_DOMAIN] == pytest.approx(2.5)
    assert rates["count"]["nsr-prerl", IN_DOMAIN] == 2 * 20 + 3 * 120
    assert rates.ratio["nsr-prerl", "small"] == pytest.approx(2) and rates.ratio["nsr-prerl", "large"] == 6
    alone = pd.DataFrame(behaviours(tests, lexicon, Estimator(100, np.random.default_rng(0)), ["small"]))
    assert IN_DOMAIN not in set(alone.benchmark)
