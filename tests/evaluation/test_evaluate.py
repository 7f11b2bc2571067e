import json
import os
import shutil

import pandas as pd
import pytest
import torch
from lm_eval.api.instance import Instance
from transformers import AutoModelForCausalLM, AutoTokenizer

from prerl.errors import UserError
from prerl.evaluation.evaluate import evaluate
from prerl.evaluation.lm import LocalLM, _until
from prerl.files.atomic import read_jsonl, write_jsonl
from prerl.files.checksums import sha256
from prerl.problems.countdown import is_correct
from prerl.problems.sets import read_problems
from tests.helpers import ROOT, changed

TASKS = ROOT / "workflow/tasks"


@pytest.fixture(scope="module")
def evaluated(scale, trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluated")
    evaluate(scale, trained / "model", trained / "problems", TASKS, out)
    return pd.read_parquet(out / "samples.parquet"), json.loads((out / "evaluate.json").read_text())


def test_every_response_is_kept_and_scored(scale, trained, evaluated):
    samples, record = evaluated
    for name, repeats in scale.evaluation.benchmarks.items():
        rows = samples[samples.benchmark == name]
        problems = {problem.id: problem for problem in read_problems(trained / f"problems/{name}.jsonl")}
        assert set(rows.problem) == set(problems)
        assert (rows.groupby("problem")["sample"].apply(list) == [list(range(repeats))] * len(problems)).all()
        assert rows.score.tolist() == [float(is_correct(r.response, problems[r.problem])) for r in rows.itertuples()]
        assert record["averages"][name] == pytest.approx(rows.score.mean())
    assert samples.score.mean() > 0 and record["tokens"] == samples.tokens.sum()
    words = samples.response.str.split().str.len()
    assert (words + samples.finished <= samples.tokens).all() and (samples.tokens <= 48).all()


def test_evaluation_repeats_itself(scale, trained, evaluated, tmp_path):
    evaluate(scale, trained / "model", trained / "problems", TASKS, tmp_path)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "samples.parquet"), evaluated[0])


def test_a_killed_evaluation_goes_on_with_the_same_responses(scale, trained, tmp_path, monkeypatch):
    sampled, sample = [], LocalLM._sample
    scale = scale.model_copy(update={"evaluation": changed(scale.evaluation, batch_size=32)})

    def counted(self, prompts, *arguments):
        sampled.append(len(prompts))
        if len(sampled) == 4:
            raise KeyboardInterrupt
        return sample(self, prompts, *arguments)

    run = lambda out: evaluate(scale, trained / "model", trained / "problems", TASKS, out)  # noqa: E731
    run(tmp_path / "whole")
    monkeypatch.setattr(LocalLM, "_sample", counted)
    monkeypatch.setattr("prerl.evaluation.lm.SAVE_EVERY", 0)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed")
    assert not (tmp_path / "killed/samples.parquet").exists()
    done = sum(sampled[:3])
    run(tmp_path / "killed")
    assert sum(sampled[4:]) == sum(scale.problems.benchmarks.values()) - done > 0
    assert {path.name for path in (tmp_path / "killed").iterdir()} == {"samples.parquet", "evaluate.json"}
    whole, killed = ((tmp_path / name / "samples.parquet").read_bytes() for name in ("whole", "killed"))
    assert whole == killed


def test_a_changed_problem_file_with_the_same_time_is_read_anew(scale, trained, tmp_path):
    """As `cp -p`, `rsync -t` and archives leave it."""
    problems = shutil.copytree(trained / "problems", tmp_path / "problems")
    small = scale.model_copy(update={"evaluation": changed(scale.evaluation, benchmarks={"countdown": 2})})
    file = problems / "countdown.jsonl"
    rows, time = read_jsonl(file), file.stat().st_mtime_ns
    for kept in (rows[:3], rows[3:6]):
        write_jsonl(file, kept)
        os.utime(file, ns=(time, time))
        evaluate(small, trained / "model", problems, TASKS, tmp_path / "out")
        samples = pd.read_parquet(tmp_path / "out/samples.parquet")
        assert samples.problem.unique().tolist() == [row["id"] for row in kept]
        record = json.loads((tmp_path / "out/evaluate.json").read_text())
        assert record["inputs"]["countdown"] == sha256(file)


def test_missing_benchmarks_are_a_users_error(scale, trained, tmp_path):
    (tmp_path / "tasks").mkdir()
    with pytest.raises(UserError, match="no task file for benchmark 'countdown'"):
        evaluate(scale, trained / "model", trained / "problems", tmp_path / "tasks", tmp_path)
    with pytest.raises(UserError, match=r"countdown\.jsonl: not found"):
        evaluate(scale, trained / "model", tmp_path, TASKS, tmp_path)


def test_loglikelihood_equals_transformers(trained):
    lm = LocalLM(trained / "model")
    tokenizer = AutoTokenizer.from_pretrained(trained / "model")
    model = AutoModelForCausalLM.from_pretrained(trained / "model")
    pairs = [("Q get 5 with 1 2 3 A", " get 5 with 1 2 3 :"), ("Q get 5", " with 9 8 7")]
    requests = [Instance("loglikelihood", {}, pair, index) for index, pair in enumerate(pairs)]
    for (context, continuation), (logp, greedy) in zip(pairs, lm.loglikelihood(requests), strict=True):
        ids = tokenizer(context + continuation, return_tensors="pt")["input_ids"]
        start = len(tokenizer(context)["input_ids"])
        with torch.inference_mode():
            log_probs = model(ids).logits[0, start - 1 : -1].log_softmax(-1)
        target = ids[0, start:]
        assert logp == pytest.approx(float(log_probs.gather(1, target[:, None]).sum()), abs=1e-4)
        assert greedy == bool((log_probs.argmax(-1) == target).all())
    rolling = lm.loglikelihood_rolling([Instance("loglikelihood_rolling", {}, (pairs[0][0],), 0)])[0]
    ids = tokenizer(pairs[0][0], return_tensors="pt")["input_ids"]  # <bos> in front
    with torch.inference_mode():
        expected = model(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None]).sum()
    assert rolling == pytest.approx(float(expected), abs=1e-4)


def test_greedy_requests_and_stop_strings(trained):
    lm = LocalLM(trained / "model")

    def ask(stops):
        settings = {"until": stops, "max_gen_toks": 12}
        return lm.generate_until(
            [Instance("generate_until", {}, ("Q get 6 with 1 2 3 A", settings), 0, ("task", 0, 1))]
        )

    (whole,) = ask([])
    tokenizer = AutoTokenizer.from_pretrained(trained / "model")
    prompt = tokenizer("Q get 6 with 1 2 3 A", return_tensors="pt")
    model = AutoModelForCausalLM.from_pretrained(trained / "model")
    expected = model.generate(**prompt, do_sample=False, max_new_tokens=12)[0, prompt["input_ids"].shape[1] :]
    assert whole == tokenizer.decode(expected, skip_special_tokens=True)
    last = whole.split()[-1]
    assert ask([f" {last}"]) == [whole.split(f" {last}")[0]] != [whole]
    top_k = Instance("generate_until", {}, ("Q", {"do_sample": True, "top_k": 50}), 0, ("task", 0, 1))
    with pytest.raises(UserError, match="task task: generation_kwargs: top_k: 50: the samplers do not do this"):
        lm.generate_until([top_k])
    assert _until("a b c d", ["c", "b"]) == "a " and _until("a", []) == "a"


def test_an_empty_problem_file_is_one_line(scale, trained, tmp_path):
    for name in scale.evaluation.benchmarks:
        (tmp_path / f"{name}.jsonl").touch()
    with pytest.raises(UserError, match=r"countdown\.jsonl: is empty"):
        evaluate(scale, trained / "model", tmp_path, TASKS, tmp_path / "out")
