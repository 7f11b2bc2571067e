import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from prerl.engines.local import Run
from prerl.engines.session import reason, stopped
from prerl.errors import UserError
from prerl.model.sampler import sample
from prerl.problems.countdown import is_correct
from tests.helpers import changed
from tests.runs import Killed, run


@pytest.mark.parametrize("name", ["dsrl", "ppo"])  # ppo has a critic to resume too
def test_resume_gives_the_same_bytes_as_an_uninterrupted_run(
    scale, methods, trained, tmp_path, monkeypatch, mixed_rewards, name
):
    whole = run(scale, methods, trained, tmp_path / "whole", name)
    assert whole[0].used_samples.gt(0).all()
    update = Run.update

    def killed(self, step, phase):
        if step == 5:
            raise Killed
        return update(self, step, phase)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "update", killed)
        with pytest.raises(Killed):
            run(scale, methods, trained, tmp_path / "killed", name)
    steps = []
    with monkeypatch.context() as patch:
        patch.setattr(Run, "update", lambda self, step, phase: steps.append(step) or update(self, step, phase))
        resumed = run(scale, methods, trained, tmp_path / "killed", name)
    assert steps == [4, 5, 6]  # from the checkpoint after step 3
    pd.testing.assert_frame_equal(resumed[0], whole[0])
    pd.testing.assert_frame_equal(resumed[1], whole[1])
    assert resumed[2] == whole[2]
    last = "checkpoints/step-00006/model.safetensors"
    assert (tmp_path / "killed" / last).read_bytes() == (tmp_path / "whole" / last).read_bytes()


def test_a_run_that_goes_on_elsewhere_names_both_machines(scale, methods, trained, tmp_path, monkeypatch):
    def train_on(name, until=None):
        update = Run.update

        def killed(self, step, phase):
            if step == until:
                raise Killed
            return update(self, step, phase)

        with monkeypatch.context() as patch:
            patch.setattr("prerl.engines.session.hardware", lambda: {"processor": name})
            patch.setattr("prerl.files.record.hardware", lambda: {"processor": name})
            patch.setattr(Run, "update", killed)
            return run(scale, methods, trained, tmp_path)[-1]

    for name in ("Z80", "6502", "6502"):
        with pytest.raises(Killed):
            train_on(name, until=5)
    record = train_on("ARM1")
    assert [one["hardware"]["processor"] for one in record["earlier"]] == ["Z80", "6502"]
    assert record["hardware"]["processor"] == "ARM1" and record["earlier"][0]["versions"] == record["versions"]
    assert not (tmp_path / "processes.json").exists()
    assert train_on("Z80")["earlier"] == []  # a run that was finished starts anew


def test_a_finished_run_starts_anew_and_repeats_itself(scale, methods, trained, tmp_path):
    first = run(scale, methods, trained, tmp_path)
    again = run(scale, methods, trained, tmp_path)
    assert len(again[0]) == scale.rl.steps and again[2] == first[2]


def test_seeds_differ_and_methods_share_their_problems(scale, methods, trained, tmp_path, monkeypatch, mixed_rewards):
    drawn, rollout = [], Run.rollout

    def watched(self, problems, repeats, seed):
        drawn.append([problem.id for problem in problems])
        return rollout(self, problems, repeats, seed)

    monkeypatch.setattr(Run, "rollout", watched)
    grpo, _, weights, record = run(scale, methods, trained, tmp_path / "a")
    _, _, other_weights, _ = run(scale, methods, trained, tmp_path / "b", seed=1)
    nsr, *_ = run(scale, methods, trained, tmp_path / "c", "nsr-prerl")
    size = len(drawn) // 3
    first, other, same = drawn[:size], drawn[size : 2 * size], drawn[2 * size :]
    assert first == same != other and weights != other_weights
    assert grpo.response_tokens[0] == nsr.response_tokens[0]  # to the first problems, from the same base
    assert record["updates"] == scale.rl.steps and record["config"]["seed"] == 0 and record["stop_reason"] is None
    assert grpo.sampler_gap.max() < 1e-4  # sampler and forward agree on the sampled tokens


def test_a_tempered_policy_is_the_same_in_sampler_and_update(scale, methods, trained, tmp_path, mixed_rewards):
    tempered = changed(scale, rl=changed(scale.rl, temperature=0.6))
    log, *_ = run(tempered, methods, trained, tmp_path)
    assert log.sampler_gap.max() < 1e-4


def test_a_limit_of_responses_at_once_is_kept_and_all_prompts_are_answered(scale, methods, trained, monkeypatch):
    made = Run(
        changed(scale, rl=changed(scale.rl, sample_batch=7)),
        methods["grpo"],
        0,
        trained / "model",
        trained / "problems",
    )
    sizes = []
    monkeypatch.setattr(
        "prerl.model.rollout.sample", lambda *args: sizes.append(len(args[1]) * args[2]) or sample(*args)
    )
    prompts, responses, texts = made.rollout(made.dev[:5], 3, 0)
    assert sizes == [6, 6, 3] and len(responses) == len(texts) == 15 and len(prompts) == 5
    made.rollout(made.dev[:2], 8, 0)  # all responses to one prompt stay together
    assert sizes[3:] == [8, 8]


def test_the_selected_checkpoint_is_the_best_on_dev(scale, methods, trained, tmp_path):
    _, dev, weights, record = run(scale, methods, trained, tmp_path)
    accuracy = dev[dev.step > 0].groupby("step").score.mean()
    assert record["selected_step"] == accuracy.idxmax()
    selected = tmp_path / f"checkpoints/step-{record['selected_step']:05d}/model.safetensors"
    assert selected.read_bytes() == weights
    rest = {path.parent.name for path in (tmp_path / "checkpoints").glob("*/model.safetensors")}
    assert rest == {selected.parent.name, "step-00003", "step-00006"}  # the best, the newest, those for the gradients
    assert sorted(dev.step.unique()) == [0, 3, 6]
    assert (dev.groupby(["step", "problem"]).size() == scale.rl.dev_samples).all()


def test_models_that_nothing_asks_for_are_dropped(scale, methods, trained, tmp_path):
    scale = changed(scale, rl=changed(scale.rl, checkpoint_every=1))
    _, dev, _, record = run(scale, methods, trained, tmp_path, "nsr-prerl")  # whose gradients are not compared
    rest = {path.parent.name for path in (tmp_path / "checkpoints").glob("*/model.safetensors")}
    assert rest == {f"step-{record['selected_step']:05d}", "step-00006"}
    assert sorted(dev.step.unique()) == list(range(7))  # the tables stay


def test_a_warm_up_of_s_steps_makes_exactly_s_updates(scale, methods, trained, tmp_path):
    warm_up, then = methods["dsrl"].phases
    for steps in (1, 4):
        method = changed(methods["dsrl"], phases=[changed(warm_up, steps=steps), then])
        log, *_ = run(scale, {"dsrl": method}, trained, tmp_path / str(steps), "dsrl")
        assert log.phase.tolist() == [0] * steps + [1] * (scale.rl.steps - steps)


@pytest.mark.parametrize("killed_at", [None, 4])  # the second phase's first update
def test_an_optimiser_is_forgotten_once_where_a_phase_says_so(
    scale, methods, trained, tmp_path, mixed_rewards, monkeypatch, killed_at
):
    start, rest = methods["dsrl-reset"].phases
    every, update = scale.rl.checkpoint_every, Run.update
    method = changed(methods["dsrl-reset"], phases=[changed(start, steps=every), rest])
    counts, kills = [], [killed_at]

    def watched(self, step, phase):
        if step in kills:
            kills.remove(step)
            raise Killed
        row = update(self, step, phase)
        counts.append(int(next(iter(self.optimizer.state.values()))["step"]))  # Adam's own
        return row

    monkeypatch.setattr(Run, "update", watched)
    if killed_at:
        with pytest.raises(Killed):
            run(scale, {"dsrl-reset": method}, trained, tmp_path, "dsrl-reset")
    run(scale, {"dsrl-reset": method}, trained, tmp_path, "dsrl-reset")
    assert counts == [*range(1, every + 1), *range(1, scale.rl.steps - every + 1)]


def test_a_run_without_signal_skips_counts_and_stops(scale, methods, trained, tmp_path, monkeypatch):
    monkeypatch.setattr("prerl.problems.countdown.is_correct", lambda response, problem: False)
    scale = changed(scale, rl=changed(scale.rl, stop_after_skipped=4))
    log, dev, _, record = run(scale, methods, trained, tmp_path)
    assert log.skipped.tolist() == [True] * 4
    assert record["skipped_updates"] == 4 and record["stopped_without_signal"]
    base = load_file(trained / "model/model.safetensors")
    for name, value in load_file(tmp_path / "model/model.safetensors").items():
        assert torch.equal(value, base[name])
    assert dev.step.unique().tolist() == [0, 3, 4]


@pytest.mark.parametrize(
    ("finished", "reward", "said"),
    [
        (0.0, 0.0, "every response was cut at rl.max_new_tokens (96)"),
        (0.02, 0.0, "98.0% of responses were cut at rl.max_new_tokens (96)"),
        (0.5, 0.0, "every response was wrong"),
        (0.0, 1.0, "every response was right"),
        (1.0, 0.5, "in no group did rewards differ"),
    ],
)
def test_why_a_run_stopped_is_told_from_its_last_updates(finished, reward, said):
    row = {"finished": finished, "reward": reward, "skipped": True}
    assert reason([row] * 4, 96).startswith(f"no signal in the last 4 updates: {said}")


def test_a_run_all_of_whose_responses_are_cut_says_so_at_its_end(
    scale, methods, trained, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(
        "prerl.model.sampler.pick", lambda probs, generator: torch.full((len(probs),), 30)
    )  # never the end
    scale = changed(scale, rl=changed(scale.rl, stop_after_skipped=3))
    log, _, _, record = run(scale, methods, trained, tmp_path)
    said = f"no signal in the last 3 updates: every response was cut at rl.max_new_tokens ({scale.rl.max_new_tokens})"
    assert len(log) == 3 and not log.finished.any() and record["stop_reason"] == said
    assert capsys.readouterr().err.endswith(f"grpo seed 0  stopped after update 3 of {scale.rl.steps}: {said}\n")


def test_stopped_needs_an_unbroken_row_of_skips():
    rows = [{"skipped": skipped} for skipped in (True, True, False, True, True)]
    assert not stopped(rows, 3) and stopped(rows, 2) and not stopped(rows[:1], 2)


def test_rewards_are_those_of_the_texts(scale, methods, trained):
    policy = Run(scale, methods["grpo"], 0, trained / "model", trained / "problems")
    table = policy.evaluate_dev(0)
    problems = {problem.id: problem for problem in policy.dev}
    expected = [is_correct(row.response, problems[row.problem]) for row in table.itertuples()]
    assert table.score.tolist() == [float(value) for value in expected] and 0 < table.score.mean() < 1


def test_a_start_token_that_the_tokenizer_lacks_is_a_users_error(scale, methods, trained):
    with pytest.raises(UserError, match="no token '<go>'"):
        Run(changed(scale, start_token="<go>"), methods["grpo"], 0, trained / "model", trained / "problems")
