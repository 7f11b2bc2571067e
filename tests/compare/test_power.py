"""What comparisons can see, and how often they err."""

import re

import numpy as np
import pytest
from typer.testing import CliRunner

from prerl.cli import app
from prerl.compare.baselines import Baselines
from prerl.compare.power import Components, components, decided, simulate
from prerl.compare.written import write_baselines
from prerl.errors import UserError

# In shares squared; such as replicates and 500 problems give at the scale tiny.
KNOWN = Components(0.86e-4, 0.04e-4, 12, [], 11, 500, ["countdown"], {})


def test_more_replicates_detect_smaller_differences():
    found = [KNOWN.difference(size).detectable(0.95) for size in (2, 3, 5, 8, 12)]
    assert found == sorted(found, reverse=True)
    assert KNOWN.difference(5).error == pytest.approx((2 * 0.86e-4 / 5 + 0.04e-4) ** 0.5)
    assert KNOWN.difference(5).detectable(KNOWN.family_level(5)) > found[2]
    alone = Components(0.86e-4, 0.04e-4, 1, [], 0, 500, ["countdown"], {})
    assert alone.family_level(5) == 0.95 and alone.difference(5).freedom < KNOWN.difference(5).freedom


def test_the_command_says_what_the_baselines_can_see(fixed):
    known = components(Baselines(fixed))
    points = str(100 * known.difference(6).detectable(0.95) + 1e-6)  # so that six replicates find it, and five do not
    options = {"scale": "made-up", "difference": points, "baselines": str(fixed)}
    result = CliRunner().invoke(app, ["power", *(word for key in options for word in (f"--{key}", options[key]))])
    assert result.exit_code == 0, result.output
    row = re.search(r"^ +5 +(\S+) +(\S+) +(\S+)$", result.output, re.MULTILINE)
    numbers = [known.difference(5).error, known.difference(5).detectable(0.95)]
    assert row and [row[1], row[2]] == [f"{100 * number:.2f}" for number in numbers]
    assert "by the primary comparison with 6 replicates." in result.output
    assert "errs in" in result.output and "(nominal 5.0 %)" in result.output


def test_one_baseline_tells_nothing_of_power(printed, methods, lexicon, smoke, tmp_path):
    write_baselines(smoke, {"grpo": methods["grpo"]}, lexicon, printed, tmp_path / "one")
    with pytest.raises(UserError, match="takes two baselines of two replicates each"):
        components(Baselines(tmp_path / "one"))


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [1.0, 2.0])
def test_the_primary_comparison_and_the_family_keep_their_errors_and_find_what_they_should(ratio):
    """Also where the new method's replicates deviate twice as much as the baselines'. 5 % of 1500 studies have a
    standard error of 0.6 %. A variance pooled with the baselines' would err in 16 % at twice the deviation; 11
    intervals of 95 % each, in a quarter of the studies."""
    studies, each = simulate(KNOWN, 5, 1500, ratio), KNOWN.family_level(5)
    primary, family = decided(studies, 0.0, each)
    assert 0.03 <= primary.mean() <= 0.07 and 0.025 <= family.any(1).mean() <= 0.065
    if ratio == 1:
        by_two, others = decided(studies, 0.02, each)
        assert 0.81 <= by_two.mean() <= 0.89 and 0.48 <= others.mean() <= 0.59
        assert decided(studies, KNOWN.difference(5).detectable(0.95), each)[0].mean() == pytest.approx(0.8, abs=0.04)


@pytest.mark.slow
def test_the_first_look_hardly_ever_stops_without_a_difference():
    from prerl.compare.levels import level_of

    studies = simulate(KNOWN, 3, 1500)
    beyond = [not one[0].interval(level_of(1, 1))[0] <= 0 <= one[0].interval(level_of(1, 1))[1] for one in studies]
    assert np.mean(beyond) <= 0.005  # 0.14 %
