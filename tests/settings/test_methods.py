"""Methods as configuration: the paper's, the ablations, and files that are refused."""

import re

import pytest

from prerl.errors import UserError
from prerl.settings.methods import KINDS, check_methods, fit_methods, load_methods
from prerl.settings.scale import Tuned, load_scale
from tests.helpers import METHODS_FILE, PAPER, ROOT, SMOKE_FILE, broken, changed


def test_the_methods_of_the_paper(methods):
    assert set(PAPER) <= set(methods)
    table = {name: [(phase.space, phase.samples, phase.advantage) for phase in methods[name].phases] for name in PAPER}
    grpo, nsr_prerl = ("post-train", "all", "std"), ("pre-train", "negative", "mean")
    assert table == {
        "grpo": [grpo],
        "psr-rl": [("post-train", "positive", "std")],
        "nsr-rl": [("post-train", "negative", "std")],
        "prerl": [("pre-train", "all", "mean")],
        "psr-prerl": [("pre-train", "positive", "mean")],
        "nsr-prerl": [nsr_prerl],
        "dsrl": [nsr_prerl, grpo],
        "nsr-rl-grpo": [("post-train", "negative", "std"), grpo],
    }


def test_all_methods_share_one_clip_range(methods):
    ranges = {name: {(phase.clip_low, phase.clip_high) for phase in method.phases} for name, method in methods.items()}
    own = {"dapo-clip": (0.2, 0.28), "dapo": (0.2, 0.28), "gspo": (3e-4, 4e-4), "cispo": (1.0, 4.0)}
    assert {name: ranges.pop(name) for name in own} == {name: {range} for name, range in own.items()}
    assert all(range == {(0.2, 0.2)} for range in ranges.values())


def test_ablations_change_one_thing():
    methods = load_methods(METHODS_FILE)
    dsrl = methods["dsrl"]
    changes = {}
    for name, method in methods.items():
        if name.startswith("dsrl-") and name not in ("dsrl-reversed", "dsrl-reset", "dsrl-micro"):
            assert method.phases[1:] == dsrl.phases[1:]
            mine, its = method.phases[0].model_dump(), dsrl.phases[0].model_dump()
            changes[name] = {key: value for key, value in mine.items() if value != its[key]}
    assert changes == {
        "dsrl-half": {"warm_ups": 0.5},
        "dsrl-double": {"warm_ups": 2.0},
        "dsrl-quadruple": {"warm_ups": 4.0},
        "dsrl-start": {"start_token": "<eos>"},
        "dsrl-body": {"tokens": "body"},
        "dsrl-slow": {"learning_rate_factor": 0.333},
        "dsrl-fast": {"learning_rate_factor": 3.0},
        "dsrl-minus-one": {"advantage": "minus-one", "loss_coefficient": 1.0},
    }


def test_controls_take_one_thing_apart(methods):
    def difference(mine, its):
        return {key: value for key, value in mine.model_dump().items() if value != its.model_dump()[key]}

    (warm_up, after), dsrl = methods["dsrl-reset"].phases, methods["dsrl"].phases
    assert warm_up == dsrl[0] and difference(after, dsrl[1]) == {"fresh_optimizer": True}
    (start, after), [grpo] = methods["grpo-scaled"].phases, methods["grpo"].phases
    scaled = {key: getattr(dsrl[0], key) for key in ("steps", "loss_coefficient")}
    assert after == grpo and difference(start, grpo) == scaled
    [mean], [nsr_rl] = methods["nsr-rl-mean"].phases, methods["nsr-rl"].phases
    assert difference(mean, nsr_rl) == {"advantage": methods["nsr-prerl"].phases[0].advantage}


def test_a_warm_up_is_as_long_as_its_scale_has_it():
    written = load_methods(METHODS_FILE)
    for name, length, run in (("tiny", 10, 120), ("qwen3-4b", 20, 348), ("qwen3-8b", 20, 348)):
        scale = load_scale(ROOT / f"workflow/scales/{name}.yaml")
        scale = scale.model_copy(update={"tuned": {}})
        methods = fit_methods(scale, written)
        assert (scale.rl.warm_up, scale.rl.steps) == (length, run)
        assert [phase.steps for phase in methods["dsrl"].phases] == [length, None]
        assert [phase.steps for phase in methods["dsrl-half"].phases] == [length // 2, None]
        assert [phase.steps for phase in methods["dsrl-reversed"].phases] == [None, length]
        assert methods["grpo"] == written["grpo"]


def test_what_was_tuned_is_put_into_the_phases():
    scale = load_scale(SMOKE_FILE)
    tuned = {"dsrl-slow": Tuned(learning_rate_factor=3, warm_ups=2), "grpo": Tuned(learning_rate_factor=0.5)}
    methods = fit_methods(scale.model_copy(update={"tuned": tuned}), load_methods(METHODS_FILE))
    slow = methods["dsrl-slow"].phases
    assert [phase.learning_rate_factor for phase in slow] == pytest.approx([3 * 0.333, 3])
    assert [phase.steps for phase in slow] == [2 * scale.rl.warm_up, None]
    assert [phase.learning_rate_factor for phase in methods["grpo"].phases] == [0.5]
    assert [phase.learning_rate_factor for phase in methods["dsrl"].phases] == [1, 1]  # each method by itself


def test_advantages_named_in_the_configuration_are_registered():
    from prerl.advantages import ADVANTAGES

    assert set(KINDS) == {*ADVANTAGES, "critic"}


BAD_METHODS = {
    "methods.grpo: phases.0.space": lambda data: data["methods"]["grpo"]["phases"][0].update(space="prompt"),
    "methods.grpo: phases.0.color: unknown key": lambda data: data["methods"]["grpo"]["phases"][0].update(color=1),
    "methods.dsrl: (top level): exactly one phase must be without steps": lambda data: (
        data["methods"]["dsrl"]["phases"][0].pop("warm_ups") and None
    ),
    "phases.0: steps and warm_ups both say": lambda data: data["methods"]["dsrl"]["phases"][0].update(steps=3),
    "phases.0: a critic values tokens": lambda data: data["methods"]["ppo"]["phases"][0].update(samples="negative"),
    "phases.0: start_token has no meaning": lambda data: data["methods"]["grpo"]["phases"][0].update(
        start_token="<bos>"
    ),
    **{
        message: lambda data, values=values: data["methods"]["grpo"]["phases"][0].update(values)
        for message, values in {
            "phases.0.loss: 'ppo' is not one of clip, gspo, cispo, sapo, or a function, as": {"loss": "ppo"},
            "phases.0.mini_batches: Input should be greater than 0": {"mini_batches": 0},
            "phases.0.passes: Input should be a valid integer": {"passes": 1.5},
            "phases.0.redraw: Input should be less than or equal to 1000": {"redraw": 10**6},
            "phases.0.redraw: Input should be a finite number": {"redraw": float("inf")},
            "phases.0.kl_coefficient: Input should be greater than or equal to 0": {"kl_coefficient": -0.1},
            "phases.0.overlong_buffer: Input should be less than or equal to 1": {"overlong_buffer": 20},
            "phases.0.denominator: Input should be 'tokens', 'budget', 'length' or 'micro-batch'": {
                "denominator": "sequence"
            },
        }.items()
    },
    "defaults: unknown key": lambda data: "standards: {}\nmethods: {}",
    "methods: tables: call it by": lambda data: data["methods"].update(tables=data["methods"]["grpo"]),
    "methods: My_Method: call it by": lambda data: data["methods"].update(My_Method=data["methods"]["grpo"]),
    "methods.grpo: phases.0.clip_low: Input should be a finite number": lambda data: data["methods"]["grpo"]["phases"][
        0
    ].update(clip_low=float("inf")),
    "methods: expected a mapping": lambda data: data.update(methods=["grpo"]),
    "phases.0.clip_low: Field required": lambda data: data["defaults"].pop("clip_low") and None,
}


BAD_METHODS["standards: unknown key"] = BAD_METHODS.pop("defaults: unknown key")


@pytest.mark.parametrize("message", BAD_METHODS)
def test_a_bad_method_is_one_line_that_names_file_and_key(tmp_path, message):
    path = broken(tmp_path, BAD_METHODS[message], METHODS_FILE)
    with pytest.raises(UserError, match=re.escape(message)) as error:
        load_methods(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def test_a_phase_of_the_body_needs_a_world_that_has_one(methods):
    scale = load_scale(ROOT / "workflow/scales/smollm.yaml")
    check_methods("x.yaml", scale, methods)
    body = scale.model_copy(update={"ablations": ["dsrl-body"]})
    with pytest.raises(UserError, match=r"x\.yaml: methods: 'dsrl-body' has a phase with `tokens: body`"):
        check_methods("x.yaml", body, methods)
    check_methods("x.yaml", body.model_copy(update={"problems": load_scale(SMOKE_FILE).problems}), methods)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"mini_batches": 3}, "mini_batches: 3 do not divide the 4 groups of a batch"),
        ({"advantage": "pass@k", "pass_k": 5}, "pass_k: pass@5 of groups of 4 is not defined"),
    ],
)
def test_what_a_scale_is_too_small_for_is_one_line(methods, values, said):
    scale = load_scale(SMOKE_FILE)
    odd = changed(methods["grpo"], phases=[changed(methods["grpo"].phases[0], **values)])
    with pytest.raises(UserError, match=f"^x.yaml: methods: 'grpo': phases.0: {said}$"):
        check_methods("x.yaml", scale, methods | {"grpo": odd})
