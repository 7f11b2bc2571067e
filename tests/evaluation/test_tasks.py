"""Tasks of lm-eval: what they may ask a sampler for, and those that lm-eval ships."""

import shutil
from types import SimpleNamespace

import datasets
import pandas as pd
import pytest
from transformers import AutoTokenizer

from prerl.errors import UserError
from prerl.evaluation.evaluate import evaluate, own_tasks, run_own
from prerl.evaluation.lm import LocalLM
from prerl.evaluation.lm_settings import sampling
from prerl.model.sampler import Sampling
from tests.helpers import ROOT, changed

TASKS = ROOT / "workflow/tasks"


@pytest.mark.parametrize(
    ("settings", "meant"),
    [
        ({"max_new_tokens": 9}, Sampling(9, 0.0)),
        ({"max_new_tokens": 9, "max_gen_toks": 7}, Sampling(7, 0.0)),  # lm-eval's own order
        ({"max_gen_toks": None, "max_tokens": 5, "until": "x"}, Sampling(5, 0.0)),
        ({"temperature": 0.5, "top_p": 0.9}, Sampling(256, 0.5, 0.9)),
        ({"do_sample": True}, Sampling(256, 1.0)),
        ({"do_sample": False, "temperature": 0.5}, Sampling(256, 0.0)),
        ({"top_k": None, "min_p": 0.0, "repetition_penalty": 1.0, "num_beams": 1}, Sampling(256, 0.0)),
        ({"top_k": -1}, Sampling(256, 0.0)),
    ],
)
def test_generation_settings_are_kept_or_change_nothing(settings, meant):
    assert sampling(settings, "task x") == meant


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"top_k": 50}, "top_k: 50: the samplers do not do this; leave it out, or set it to 0"),
        ({"min_p": 0.1}, "min_p: 0.1: the samplers do not do this; leave it out, or set it to 0"),
        (
            {"repetition_penalty": 1.2},
            "repetition_penalty: 1.2: the samplers do not do this; leave it out, or set it to 1",
        ),
        ({"logit_bias": {5: 1}}, "logit_bias: {5: 1}: the samplers do not do this; leave it out"),
        ({"temperature": "hot"}, "temperature: Input should be a valid number, unable to parse string as a number"),
        ({"top_p": 0}, "top_p: Input should be greater than 0"),
        ({"max_new_tokens": 0}, "max_new_tokens: Input should be greater than 0"),
    ],
)
def test_generation_settings_that_no_sampler_keeps_name_task_and_key(settings, message):
    with pytest.raises(UserError) as error:
        sampling(settings, "task x")
    assert str(error.value) == f"task x: generation_kwargs: {message}"


def test_a_task_file_may_not_ask_for_what_would_not_be_done(scale, trained, tmp_path, monkeypatch):
    """The scale's settings take the place of a file's, which says more."""
    monkeypatch.setattr(LocalLM, "_sample", lambda *_: pytest.fail("sampled"))
    tasks = tmp_path / "tasks"
    shutil.copytree(TASKS, tasks)
    shared = tasks / "_countdown.yaml"
    shared.write_text(shared.read_text().replace("top_k: 0,", "top_k: 0, min_p: 0.1,"))
    with pytest.raises(UserError, match=r"tasks/countdown\.yaml: generation_kwargs: min_p: 0\.1: the samplers do not"):
        evaluate(scale, trained / "model", trained / "problems", tasks, tmp_path / "out")


@pytest.mark.slow
def test_an_own_task_that_is_not_there_or_asks_for_more_is_refused_before_anything_is_sampled(
    scale, trained, tmp_path, monkeypatch
):
    monkeypatch.setattr(LocalLM, "_sample", lambda *_: pytest.fail("sampled"))
    run = lambda name: evaluate(with_task(scale, name), trained / "model", trained / "problems", TASKS, tmp_path)  # noqa: E731
    with pytest.raises(UserError, match=r"evaluation\.lm_eval: lm-eval has no task or group 'nothing'"):
        run("nothing")
    config = SimpleNamespace(task="one", generation_kwargs={"num_beams": 10})
    tasks = {"tasks": {"one": SimpleNamespace(config=config)}}
    monkeypatch.setattr("lm_eval.tasks.TaskManager.load", lambda self, names: tasks)
    with pytest.raises(UserError, match=r"evaluation\.lm_eval\.boolq: task one: generation_kwargs: num_beams: 10: the"):
        run("boolq")


def with_task(scale, name):
    return changed(scale, evaluation=changed(scale.evaluation, lm_eval={name: "exact_match,none"}))


GPQA = "gpqa_diamond_cot_zeroshot"


def test_a_task_that_lm_eval_ships_gives_a_row_a_problem(trained, monkeypatch, tmp_path):
    """GPQA-Diamond's own task file, prompt and filters; its rows are made up, for the real ones lie behind a gate."""
    wrong = {f"Incorrect Answer {place}": f"{place}" for place in (1, 2, 3)}
    rows = [{"Question": f"What is {n} + 5?", "Correct Answer": "nine", **wrong} for n in range(8)]
    pd.DataFrame(rows).to_parquet(tmp_path / "rows.parquet")  # on disk, where the shuffle of the choices is kept
    files = {"data_files": {"train": str(tmp_path / "rows.parquet")}, "cache_dir": str(tmp_path)}
    made_up = datasets.load_dataset("parquet", **files)
    monkeypatch.setattr(datasets, "load_dataset", lambda path, name, **options: made_up)
    lm, prompts = LocalLM(trained / "model"), {}

    def always_a(requests, **options):
        for request in requests:
            assert request.args[1]["max_gen_toks"] == 7
            prompts[request.doc_id] = request.args[0]
            row = {"response": "Perhaps (B), but no: (A)", "tokens": 9, "entropy": 1.0, "finished": True}
            lm.generated[request.task_name, request.doc_id] = [row]
        return ["Perhaps (B), but no: (A)"] * len(requests)

    monkeypatch.setattr(lm, "generate_until", always_a)
    samples, average = run_own(lm, GPQA, "exact_match,flexible-extract", 7)
    assert samples.problem.tolist() == [f"{GPQA}-{n}" for n in range(8)] and set(samples.benchmark) == {GPQA}
    assert set(samples.answer) == {"(A)"} and samples.score.mean() == average
    assert samples.score.tolist() == [float("(A) nine" in prompts[n]) for n in range(8)] and 0 < average < 1
    with pytest.raises(UserError, match=r"lm-eval has no metric 'exact_match,other'"):
        run_own(lm, GPQA, "exact_match,other", 7)


def test_an_own_task_without_data_or_of_no_such_name_is_one_line():
    with pytest.raises(UserError, match=r"evaluation.lm_eval: lm-eval has no task or group 'nothing'"):
        own_tasks("nothing")
    with pytest.raises(UserError, match=r"gpqa_diamond_cot_zeroshot: its data cannot be loaded .*run `prerl fetch"):
        own_tasks(GPQA)


def test_lm_evals_own_tasks_meet_the_scales_chat_template(trained):
    lm = LocalLM(trained / "model")
    lm.tokenizer = AutoTokenizer.from_pretrained(trained / "model")
    lm.tokenizer.chat_template = "{{ enable_thinking }} {{ messages[0].content }}"
    lm.template_options = {"enable_thinking": False}
    assert lm.apply_chat_template([{"role": "user", "content": "hi"}]) == "False hi"
