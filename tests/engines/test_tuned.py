"""Values that are tried, or were chosen, reach the training."""

import json

import pytest
import yaml
from typer.testing import CliRunner

from prerl.cli import app
from prerl.errors import UserError
from tests.helpers import METHODS_FILE, changed


@pytest.fixture
def start(scale, trained, tmp_path):
    """Trains DSRL for four updates at a scale that was tuned, with further options; its phases, by the record."""
    rl = changed(scale.rl, steps=4, checkpoint_every=4, prompts_per_step=2, dev_samples=2, warm_up=1)
    small = changed(scale, rl=rl, analysis=changed(scale.analysis, alignment_methods=[], alignment_steps=[]))
    small = changed(small, tuned={"dsrl": {"learning_rate_factor": 0.333, "warm_ups": 2.0}})
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(small.model_dump(mode="json")))

    def run(*options):
        places = {"--model": trained / "model", "--problems": trained / "problems", "--out": tmp_path / "run"}
        places |= {"--scale": path, "--methods": METHODS_FILE, "--method": "dsrl", "--seed": 100}
        arguments = [str(part) for pair in places.items() for part in pair]
        result = CliRunner().invoke(app, ["train", *arguments, *map(str, options)])
        if isinstance(result.exception, UserError):
            raise result.exception
        assert result.exit_code == 0, result.output
        phases = json.loads((tmp_path / "run/run.json").read_text())["config"]["phases"]
        return [(phase["steps"], phase["learning_rate_factor"]) for phase in phases]

    return run


@pytest.mark.slow
def test_what_is_tried_stands_in_place_of_what_the_scale_was_tuned_to(start):
    assert start("--learning-rate-factor", 3.0, "--warm-ups", 1.0) == [(1, 3.0), (None, 3.0)]


@pytest.mark.slow
def test_what_was_chosen_is_read_from_the_outcome_of_a_tuning(start, tmp_path):
    choices = tmp_path / "choices.yaml"
    choices.write_text("tuned: {dsrl: {learning_rate_factor: 3.0, warm_ups: 3.0}}\n")
    assert start("--tuned", choices) == [(3, 3.0), (None, 3.0)]


@pytest.mark.slow
def test_without_either_it_is_what_the_scale_was_tuned_to(start):
    assert start() == [(2, 0.333), (None, 0.333)]


def test_a_factor_of_nothing_is_one_line(start):
    with pytest.raises(UserError, match=r"^prerl train: learning_rate_factor: Input should be greater than 0$"):
        start("--learning-rate-factor", 0)
