"""What is tried in tuning, and what a scale makes of it."""

import pandas as pd
import pytest
import yaml

from prerl.errors import UserError
from prerl.settings.methods import fit_methods, load_methods, new_method
from prerl.settings.scale import Tuned, load_scale
from prerl.settings.tuning import Choices, check_tuned
from tests.helpers import METHODS_FILE, ROOT, SMOKE_FILE, broken, changed

KEPT = ROOT / "results/baselines"
SCALES = sorted(path.stem for path in (ROOT / "workflow/scales").glob("*.yaml"))


@pytest.fixture(scope="module")
def smoke():
    return load_scale(SMOKE_FILE)


def test_every_method_is_tried_at_the_same_rates_and_what_it_alone_has_too(smoke, as_written):
    """A tenth in the pre-train space alone; lengths of a warm-up where there is one, at each rate."""
    names = {name: [one.name for one in smoke.tuning.candidates(as_written[name])] for name in smoke.methods}
    rates = ["0.333", "1", "3"]
    assert names["grpo"] == names["ppo"] == rates and names["nsr-prerl"] == ["0.1", *rates]
    assert names["dsrl"] == [f"{rate}{length}" for rate in rates for length in ("-w0.5", "", "-w2")]
    assert len(smoke.tuning.candidates(as_written["nsr-rl-grpo"])) == 9  # DSRL's control has as many


def shape(method):
    return [(phase.steps, phase.learning_rate_factor) for phase in method.phases]


def test_tuned_values_multiply_what_the_method_has(smoke, as_written):
    """A factor all phases; a length the warm-ups. An ablation takes what the method that it changes was tuned to."""
    scale = smoke.tuned_to("dsrl", Tuned(learning_rate_factor=3.0, warm_ups=2.0))
    assert scale.rl.warm_up == 5
    fitted = fit_methods(scale, as_written)
    assert shape(fitted["dsrl"]) == [(10, 3.0), (None, 3.0)]
    assert shape(fitted["dsrl-half"]) == [(5, 3.0), (None, 3.0)]
    assert shape(fitted["dsrl-slow"]) == [(10, pytest.approx(0.999)), (None, 3.0)]
    untouched = ("grpo", "nsr-rl-grpo", "grpo-scaled")
    assert {name: shape(fitted[name]) for name in untouched} == {
        name: shape(fit_methods(smoke, as_written)[name]) for name in untouched
    }


def test_every_ablation_is_tuned_as_a_method_that_is_tuned(as_written):
    tiny = load_scale(ROOT / "workflow/scales/tiny.yaml")
    assert {as_written[name].tuned_as for name in tiny.ablations} <= {*tiny.methods, *tiny.further}
    assert not any(as_written[name].tuned_as for name in [*tiny.methods, *tiny.further])


@pytest.mark.parametrize(
    ("name", "tuned", "message"),
    [
        ("grpoo", {}, "tuned: no method 'grpoo' in workflow/methods.yaml"),
        ("grpo", {"learning_rate_factor": 2.0}, "tuned.grpo: 2 was never tried .*: tuning tries 0.333, 1, 3$"),
        ("grpo", {"learning_rate_factor": 0.1}, "tuned.grpo: 0.1 was never tried"),
        ("ppo", {"warm_ups": 2.0}, "tuned.ppo: 1-w2 was never tried"),
    ],
)
def test_what_was_never_tried_is_no_outcome(smoke, as_written, name, tuned, message):
    with pytest.raises(UserError, match=rf"^some\.yaml: {message}") as error:
        check_tuned("some.yaml", smoke.tuned_to(name, Tuned.model_validate(tuned)), as_written)
    assert "\n" not in str(error.value)


def test_what_was_tried_is_accepted(smoke, as_written):
    values = {"nsr-prerl": {"learning_rate_factor": 0.1}, "dsrl": {"learning_rate_factor": 0.333, "warm_ups": 2.0}}
    check_tuned("some.yaml", changed(smoke, tuned=values), as_written)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data["tuning"].update(seeds=[100, 1]), "tuning.seeds: 1 is a seed of the study too"),
        (lambda data: data["tuning"].update(seeds=[100, 100]), "tuning: seeds must be distinct"),
        (lambda data: data["tuning"].update(pre_train_factors=[3.0]), "learning_rate_factors must be distinct: 3.0"),
        (lambda data: data["tuning"].update(learning_rate_factors=[3.0]), "learning_rate_factors: 1, the method as"),
        (lambda data: data["tuning"].update(warm_ups=[2.0]), "warm_ups: 1, the method as its file has it"),
        (lambda data: data.update(tuned={"grpo": {"rate": 3}}), "tuned.grpo.rate: unknown key"),
        (lambda data: (data.pop("tuning"), data.update(tuned={"grpo": {}}))[1], "tuned: without the section `tuning`"),
    ],
)
def test_a_tuning_that_cannot_be_is_one_line(tmp_path, change, message):
    with pytest.raises(UserError) as error:
        load_scale(broken(tmp_path, change))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_new_method_may_ask_to_be_tuned_and_no_other_may(smoke, tmp_path):
    phases = "phases: [{space: post-train, samples: all, advantage: mean}]\n"
    path = tmp_path / "mine.yaml"
    path.write_text("tune: true\n" + phases)
    assert new_method(path, smoke, {})[1].tune
    path.write_text("tuned_as: grpo\n" + phases)
    with pytest.raises(UserError, match="tuned_as: only an ablation"):
        new_method(path, smoke, {})
    for key, value, message in (("tune", True, "tune: only a new"), ("tuned_as", "grpoo", "tuned_as: no method 'gr")):
        file = broken(tmp_path, lambda data, key=key, value=value: data["methods"]["rloo"].update({key: value}),
                      METHODS_FILE)  # fmt: skip
        with pytest.raises(UserError, match=f"methods.rloo: {message}"):
            load_methods(file)


@pytest.mark.parametrize("name", SCALES)
def test_a_scale_is_tuned_to_what_was_chosen(name):
    """What a scale's own file says is what stands in the committed outcome, and nothing else."""
    data = yaml.safe_load((ROOT / f"workflow/scales/{name}.yaml").read_text())
    whole, cut = KEPT / name / "sensitivity/choices.yaml", KEPT / f"gpu/{name}-tuning.csv"
    there = yaml.safe_load(whole.read_text()) if whole.is_file() else {"tuned": chosen_of(cut) if cut.is_file() else {}}
    assert Choices.model_validate({"tuned": data.get("tuned", {})}) == Choices.model_validate(there)


def chosen_of(cut):
    """What a tuning chose that was cut short: of a method's candidates the one with the highest dev accuracy at the
    last evaluation that all have or would have, had they not stopped; of equal ones the one with the highest reward in
    the last ten updates that all made so."""
    rows = pd.read_csv(cut)
    shares = (rows.correct / rows.responses).groupby([rows.problems, rows.method, rows.learning_rate_factor, rows.step])
    table = shares.mean().unstack("step")
    dev, training = table.loc["dev"], table.loc["training"]
    chosen = {}
    for method, own in dev.groupby("method"):
        # A run that stopped has no more evaluations after its last, which all are 0: every response was wrong.
        stopped = training.loc[method].index[training.loc[method].ffill(axis=1).iloc[:, -10:].eq(0).all(axis=1)]
        kept = own.droplevel("method").drop(index=stopped)
        accuracy = kept[kept.dropna(axis=1).columns[-1]]
        best = accuracy[accuracy == accuracy.max()].index
        made = training.loc[method].loc[best].dropna(axis=1)
        factor = made.iloc[:, -10:].mean(axis=1).idxmax()
        chosen[method] = {"learning_rate_factor": float(factor)}
    return chosen
