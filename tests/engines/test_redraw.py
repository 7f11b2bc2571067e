"""Groups without signal drawn anew: DAPO's dynamic sampling."""

import itertools

import pytest

from prerl.engines.local import Run
from prerl.problems.world import CountdownWorld
from tests.helpers import changed
from tests.runs import run


@pytest.fixture
def phase(methods):
    return changed(methods["grpo"].phases[0], redraw=3)


@pytest.fixture
def judge(monkeypatch):
    """Makes every group mixed or all wrong, as told, in the order of drawing."""

    def judge(scale, *mixed):
        size, judged = scale.rl.group_size, itertools.count()

        def score(self, text, problem):
            group, place = divmod(next(judged), size)
            return float(mixed[group] and place == 0)

        monkeypatch.setattr(CountdownWorld, "score", score)

    return judge


def test_groups_without_signal_make_room_for_new_ones(scale, methods, trained, judge, phase):
    scale = changed(scale, rl=changed(scale.rl, prompts_per_step=4))
    engine = Run(scale, methods["grpo"], 0, trained / "model", trained / "problems")
    judge(scale, True, False, True, False, False, True, True)
    kept, sampled = engine.sample(1, phase)
    size = scale.rl.group_size
    assert len(sampled.prompts) == 4 + 2 + 1 and len(sampled.responses) == 7 * size
    assert kept.prompts == [sampled.prompts[index] for index in (0, 2, 5, 6)]
    assert kept.responses == [one for i in (0, 2, 5, 6) for one in sampled.responses[i * size : i * size + size]]
    assert [sum(kept.rewards[start : start + size]) for start in range(0, 4 * size, size)] == [1, 1, 1, 1]


def test_there_is_an_end_to_it(scale, methods, trained, judge, phase):
    """What is without a signal then stays, and counts as in any batch."""
    scale = changed(scale, rl=changed(scale.rl, prompts_per_step=2))
    engine = Run(scale, methods["grpo"], 0, trained / "model", trained / "problems")
    judge(scale, *[True, False, False, False, False])
    row = engine.update(1, phase)
    assert row["redrawn"] == 3 and not row["skipped"] and row["used_samples"] == scale.rl.group_size
    assert row["reward"] == pytest.approx(1 / (5 * scale.rl.group_size))  # of all that were sampled


def test_the_first_draw_is_that_of_every_method(scale, methods, trained, judge, phase):
    engine = Run(scale, methods["grpo"], 0, trained / "model", trained / "problems")
    rows = []
    for chosen in (methods["grpo"].phases[0], phase):
        judge(scale, *[True] * scale.rl.prompts_per_step)
        rows.append(engine.sample(1, chosen)[1])
    assert rows[0] == rows[1]


def test_tokens_of_what_was_drawn_in_vain_count(scale, methods, trained, tmp_path, monkeypatch):
    """And a run is the same when it is made again."""
    monkeypatch.setattr(CountdownWorld, "score", lambda self, text, problem: float(len(text) % 3 == 0))
    methods = methods | {"dapo": changed(methods["dapo"], phases=[changed(methods["dapo"].phases[0], mini_batches=2)])}
    first, second = (run(scale, methods, trained, tmp_path / name, "dapo") for name in "ab")
    assert first[0].equals(second[0]) and first[2] == second[2]
    log = first[0]
    assert (
        log.tokens == (log.response_tokens * (scale.rl.prompts_per_step + log.redrawn) * scale.rl.group_size).round()
    ).all()
