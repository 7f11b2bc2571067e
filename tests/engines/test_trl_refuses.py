"""What the TRL engine cannot do, in one line each."""

import re

import pytest

from prerl.errors import UserError
from prerl.settings.engine import TrlEngine, Vllm
from prerl.settings.methods import check_methods
from tests.helpers import changed

ENGINE = TrlEngine(
    name="trl", device="cpu", processes=1, launch=None, precision="float32", gradient_checkpointing=False, vllm=None
)


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("ppo", [{}], "phases.0: advantage: a critic is something that only the local engine can train"),
        (
            "grpo",
            [{"redraw": 2}],
            "phases.0: redraw: only the local engine draws groups anew",
        ),
        ("dsrl", [{}, {"passes": 2}], "phases.1: passes, mini_batches: TRL makes as many updates of every batch"),
    ],
)
def test_what_the_engine_cannot_do_is_one_line(scale, methods, name, changes, said):
    phases = [changed(phase, **values) for phase, values in zip(methods[name].phases, changes, strict=True)]
    methods = methods | {name: changed(methods[name], phases=phases)}
    scale = changed(
        scale, methods=[name], ablations=[], analysis=changed(scale.analysis, alignment_methods=[], alignment_steps=[])
    )
    check_methods("x.yaml", scale, methods)
    with pytest.raises(UserError, match=rf"^x\.yaml: methods: '{name}': {re.escape(said)}"):
        check_methods("x.yaml", changed(scale, engine=ENGINE), methods)


def test_a_batch_that_processes_cannot_share_is_one_line(scale, methods, tmp_path):
    grpo = methods["grpo"]
    trl_settings = pytest.importorskip("prerl.engines.trl_settings", reason="the TRL engine needs the extra `cluster`")
    uneven = changed(scale, engine=changed(ENGINE, processes=3))
    room = Vllm(tensor_parallel=1, memory=0.5, max_length=64)
    trl_settings.check_length(room, 16, 48)
    said = r"engine\.vllm\.max_length: 64 tokens do not hold the longest prompt \(17\) and rl\.max_new_tokens \(48\)"
    with pytest.raises(UserError, match=said):
        trl_settings.check_length(room, 17, 48)
    with pytest.raises(UserError, match=r"rl\.micro_batch: 4 responses in each of 3 processes do not divide the 32"):
        trl_settings.settings(uneven, grpo, 0, 3, tmp_path)
    many = changed(grpo, phases=[changed(grpo.phases[0], mini_batches=4)])
    with pytest.raises(UserError, match=r"mini_batches: the 1 prompts of an update cannot be shared by 2 processes"):
        trl_settings.settings(changed(scale, engine=changed(ENGINE, processes=2)), many, 0, 3, tmp_path)
