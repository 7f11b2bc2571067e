"""A method author's own functions."""

import re
from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from prerl.advantages import std_advantages
from prerl.engines.custom import custom_advantages, custom_batch
from prerl.errors import UserError
from prerl.settings.functions import load_function
from prerl.settings.methods import load_methods, new_method
from tests.helpers import METHODS_FILE, ROOT, changed, learn, random_batch

EXAMPLES = ROOT / "tests/examples"


@pytest.fixture(autouse=True)
def _root(monkeypatch):
    monkeypatch.chdir(ROOT)  # the defaults of a phase lie in workflow/methods.yaml
    load_function.cache_clear()


@pytest.fixture
def write(tmp_path):
    def write(body, name="mine"):
        (tmp_path / f"{name}.py").write_text(f"import torch\nfrom dataclasses import replace\n\n{body}\n")
        return f"{tmp_path}/{name}.py:f"

    return write


def batch():
    return random_batch(torch.Generator().manual_seed(0))


def test_an_advantage_from_a_file_is_what_it_returns(write):
    place = write("def f(rewards, group):\n    return 2 * rewards - 1")
    rewards = torch.tensor([0.0, 1.0, 1.0])
    assert custom_advantages(place, rewards, torch.tensor([0, 0, 1])).tolist() == [-1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return rewards[:2]", "the advantages: shape (2,), expected (4,)"),
        ("return rewards[:, None]", "the advantages: shape (4, 1), expected (4,)"),
        ("return rewards.double()", "the advantages: dtype float64, expected float32"),
        ("return rewards.long()", "the advantages: dtype int64, expected float32"),
        ("return rewards / 0", "the advantages: 4 of 4 values are NaN or infinite"),
        ("return rewards.tolist()", "the advantages: returned list, expected a tensor"),
        ("pass", "the advantages: returned NoneType, expected a tensor"),
        ("return rewards[9]", "raised IndexError: index 9 is out of bounds for dimension 0 with size 4 (line 5)"),
        ("return undefined", "raised NameError: name 'undefined' is not defined (line 5)"),
    ],
)
def test_what_is_wrong_with_an_advantage_is_one_line(write, body, message):
    place = write(f"def f(rewards, group):\n    {body}")
    with pytest.raises(UserError) as error:
        custom_advantages(place, torch.tensor([0.0, 1.0, 1.0, 0.0]), torch.tensor([0, 0, 1, 1]))
    assert str(error.value) == f"{place}: {message}"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return replace(batch, response_ids=batch.response_ids + 1)", "changed response_ids, which must stay"),
        ("return batch.rows(torch.arange(2))", "rewards: shape (2,), expected (4,)"),
        ("return replace(batch, group=batch.group * 0)", "changed group, which must stay"),
        ("return replace(batch, response_mask=batch.response_mask * 2)", "response_mask must be 0 or 1"),
        ("return replace(batch, response_mask=torch.ones_like(batch.response_mask))", "and 0 at padding"),
        ("return replace(batch, rewards=batch.rewards * torch.nan)", "rewards: 4 of 4 values are NaN"),
        ("return replace(batch, prompt_ids=batch.prompt_ids.float())", "prompt_ids: dtype float32, expected int64"),
        ("return replace(batch, prompt_mask=batch.prompt_mask * 0)", "prompt_mask must be 1 on at least one token"),
        ("return batch.rewards", "returned Tensor, expected a prerl.objective.Batch"),
    ],
)
def test_what_is_wrong_with_a_transform_is_one_line(write, body, message):
    place = write(f"def f(batch):\n    {body}")
    with pytest.raises(UserError) as error:
        custom_batch(place, batch())
    assert message in str(error.value) and str(error.value).startswith(place) and "\n" not in str(error.value)


def test_a_transform_that_works_in_place_changes_its_own_copy(write):
    place = write("def f(batch):\n    batch.rewards.add_(1)\n    batch.response_mask[:, 0] = 0\n    return batch")
    given, before = batch(), batch()
    found = custom_batch(place, given)
    assert torch.equal(found.rewards, before.rewards + 1) and not found.response_mask[:, 0].any()
    assert all(torch.equal(getattr(given, name), value) for name, value in vars(before).items() if value is not None)
    place = write("def f(batch):\n    batch.response_ids.add_(1)\n    return batch", "ids")
    with pytest.raises(UserError, match="changed response_ids"):
        custom_batch(place, batch())


def test_a_place_without_function_says_what_there_is(write, tmp_path):
    place = write("def f(batch):\n    return batch")
    with pytest.raises(UserError, match="has no function 'g'; it has replace, f"):
        load_function(place.removesuffix("f") + "g")
    with pytest.raises(UserError, match="no such file or module"):
        load_function(f"{tmp_path}/none.py:f")
    with pytest.raises(UserError, match="no such file or module"):
        load_function("no_such_module.at_all:f")
    with pytest.raises(UserError, match=r"cannot be imported: SyntaxError: .*\(broken\.py, line 4\)$"):
        load_function(write("def f(", "broken"))
    assert load_function("prerl.advantages:std_advantages") is std_advantages


def phase(methods, **values):
    return changed(methods["grpo"].phases[0], **values)


def moved(model, methods, scale, data, **values):
    """The gradient of one update, flat, and the row of its log."""
    model = deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters())
    row = learn(model, optimizer, data, phase(methods, **values), changed(scale.rl, max_grad_norm=1e9), 1)
    return torch.cat([p.grad.flatten() for p in model.parameters()]), row


def test_grpo_written_by_hand_is_grpo(model, methods, scale):
    ours, _ = moved(model, methods, scale, batch())
    its, _ = moved(model, methods, scale, batch(), advantage="prerl.advantages:std_advantages")
    assert torch.equal(ours, its) and bool(ours.any())


def test_a_transform_may_forget_the_prompt_as_the_pre_train_space_does(model, methods, scale, write):
    place = write("from prerl.objective import forget_prompt\ndef f(batch):\n    return forget_prompt(batch, 1)")
    ours, row = moved(model, methods, scale, batch(), space="pre-train", start_token=None)
    its, its_row = moved(model, methods, scale, batch(), transform=place)
    torch.testing.assert_close(ours, its)
    assert its_row["used_samples"] == row["used_samples"] == 4


def test_a_transform_changes_rewards_and_drops_tokens(model, methods, scale, write):
    """Dropped tokens are still read: what follows them is conditional on them."""
    place = write(
        "def f(batch):\n"
        "    mask = batch.response_mask.clone()\n    mask[:, 0] = 0\n"
        "    return replace(batch, rewards=1 - batch.rewards, response_mask=mask)"
    )
    its, _ = moved(model, methods, scale, batch(), transform=place)
    flipped = batch()
    flipped = replace(flipped, rewards=1 - flipped.rewards)
    # the first token of a response moves to its prompt: a loss without it
    shifted = replace(
        flipped,
        prompt_ids=torch.stack(
            [row.roll(-1) for row in torch.cat([flipped.prompt_ids, flipped.response_ids[:, :1]], 1).roll(1, 1)]
        ),
        prompt_mask=torch.cat([flipped.prompt_mask, torch.ones(4, 1, dtype=torch.long)], 1),
        response_ids=flipped.response_ids[:, 1:],
        response_mask=flipped.response_mask[:, 1:],
        sampler_logp=flipped.sampler_logp[:, 1:],
    )
    expected, _ = moved(model, methods, scale, shifted)
    torch.testing.assert_close(its, expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("name", ["warm_up_slowly", "rare_positives"])
def test_the_examples_are_methods(name):
    [(found, method)] = load_methods(EXAMPLES / f"{name}.yaml").items()
    assert found == name.replace("_", "-") and method.phases[-1].clip_low == 0.2
    assert list(method.sources()) == (
        ["tests/examples/rare_positives.py:advantage"] if name == "rare_positives" else []
    )


def test_the_examples_that_are_printed_are_these(tmp_path):
    text = (ROOT / "workflow/README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(yaml|python)\n(.+?)```", text, re.DOTALL)
    (schedule, own), (function,) = ([text for kind, text in blocks if kind == wanted] for wanted in ("yaml", "python"))
    for name, text in {"schedule.yaml": schedule, "my_method.yaml": own, "my_method.py": function}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    [printed], [ours] = (
        load_methods(p).values() for p in (tmp_path / "schedule.yaml", EXAMPLES / "warm_up_slowly.yaml")
    )
    assert printed == ours
    [printed], [ours] = (
        load_methods(p).values() for p in (tmp_path / "my_method.yaml", EXAMPLES / "rare_positives.yaml")
    )
    rewards, group = torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0, 0.0]), torch.arange(6) // 3
    found = [custom_advantages(place, rewards, group) for method in (printed, ours) for place in method.sources()]
    assert len(found) == 2 and torch.equal(*found)


def test_the_example_advantage_weighs_rare_positives_more():
    rewards, group = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0]), torch.arange(8) // 4
    found = custom_advantages("tests/examples/rare_positives.py:advantage", rewards, group)
    plain = std_advantages(rewards, group)
    torch.testing.assert_close(found / plain, torch.tensor([1.75, 1, 1, 1, 1.25, 1.25, 1.25, 1.0]))


def test_a_changed_function_changes_what_a_job_depends_on(tmp_path, write):
    write("def f(rewards, group):\n    return rewards")
    (tmp_path / "mine.yaml").write_text(
        "phases: [{space: post-train, samples: all, advantage: 'mine.py:f'}]", encoding="utf-8"
    )
    [method] = load_methods(tmp_path / "mine.yaml").values()
    before = method.sources()
    write("def f(rewards, group):\n    return -rewards")
    assert method.sources().keys() == before.keys() and method.sources() != before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("phases: []", "mine.yaml: phases: List should have at least 1 item"),
        ("phases: [{space: post-train, samples: all, advantage: median}]", "'median' is not one of std, mean,"),
        (
            "phases: [{space: post-train, samples: all, advantage: std, transform: mean}]",
            "'mean' is not a function, as",
        ),
        ("phases: [{space: post-train, samples: all, advantage: std}]\nsteps: 3", "mine.yaml: steps: unknown key"),
    ],
)
def test_a_malformed_method_file_is_one_line(tmp_path, text, message):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(UserError) as error:
        load_methods(tmp_path / "mine.yaml")
    assert message in str(error.value) and str(error.value).startswith(str(tmp_path)) and "\n" not in str(error.value)


def test_the_named_methods_have_no_functions_of_their_own():
    assert all(not method.sources() for method in load_methods(METHODS_FILE).values())


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("grpo", "phases: [{space: post-train, samples: all, advantage: std}]", "there is a method 'grpo' already"),
        (
            "problems",
            "phases: [{space: post-train, samples: all, advantage: std}]",
            "there is a method 'problems' already",
        ),
        ("mine", "methods: {a: 1, b: 2}", "methods.a: "),
        ("mine", "phases: [{space: post-train, samples: all, advantage: 'gone.py:f'}]", "no such file or module"),
        ("Größe", "phases: []", "the file names the method"),
    ],
)
def test_a_file_that_is_no_new_method_is_one_line(methods, scale, tmp_path, name, text, message):
    (tmp_path / f"{name}.yaml").write_text(text)
    with pytest.raises(UserError) as error:
        new_method(tmp_path / f"{name}.yaml", scale, methods)
    assert message in str(error.value) and "\n" not in str(error.value)
