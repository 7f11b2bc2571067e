"""`prerl check-baselines`: one baseline again."""

import numpy as np
import pandas as pd
import pytest

from prerl.compare.baselines import Baselines
from prerl.compare.reproduce import first_difference, prediction_interval, reproduce
from prerl.errors import UserError
from prerl.files.machine import processor
from tests.helpers import ROOT


def test_this_machine_reproduces_what_it_made(real, capsys):
    same, text = reproduce(real[0], Baselines(real[1]), "grpo", 0, ROOT / "workflow/tasks")
    assert same and text.endswith("reproduces the baseline exactly.")
    assert "warning" not in capsys.readouterr().err
    with pytest.raises(UserError, match="no run of 'grpo' with seed 7"):
        reproduce(real[0], Baselines(real[1]), "grpo", 7, ROOT / "workflow/tasks")


def test_another_machine_is_named_beside_the_answer(real, monkeypatch, capsys):
    fixed = Baselines(real[1])
    hardware = fixed.record["made_with"]["hardware"][0]["hardware"]
    fixed.record["made_with"]["hardware"][0]["hardware"] = hardware | {"processor": "Z80"}
    reproduce(real[0], fixed, "grpo", 0, ROOT / "workflow/tasks")
    assert f"warning: {real[1]}: hardware: the processor is {processor()} here, Z80 there" in capsys.readouterr().err


def test_where_two_logs_part():
    old = pd.DataFrame({name: [0.25, 0.5, 0.75] for name in ("reward", "response_tokens", "entropy", "grad_norm")})
    assert first_difference(old, old) is None
    assert first_difference(old, old.assign(entropy=[0.25, 0.5 * (1 + 1e-8), 0.75])) is None
    assert first_difference(old, old.assign(reward=[0.25, 0.5, 0.7])) == 3
    assert first_difference(old, old[:2]) == 3


def test_the_prediction_interval_covers_one_more_value():
    draws = np.random.default_rng(0).normal(3, 2, (20_000, 6))
    ends = np.array([prediction_interval(values) for values in draws[:, :5]])
    inside = ((ends[:, 0] <= draws[:, 5]) & (draws[:, 5] <= ends[:, 1])).mean()
    assert inside == pytest.approx(0.95, abs=0.005)  # over three standard errors; without the new value's own, 0.93
    assert prediction_interval(np.array([1.0])) == (-np.inf, np.inf)
