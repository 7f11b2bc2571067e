"""Models whose tokenizers differ from the suite's own: start, end and padding tokens, and chat templates."""

import sys
from types import SimpleNamespace

import pandas as pd
import pytest
from transformers import AutoTokenizer

from prerl.engines import local
from prerl.engines.local import Run
from prerl.engines.policy import Policy
from prerl.evaluation.alignment import align_base
from prerl.evaluation.evaluate import evaluate
from prerl.evaluation.lm import LocalLM
from prerl.model.sampler import Sampling
from prerl.model.tokens import Tokens
from prerl.settings.engine import TrlEngine, Vllm
from tests.helpers import ROOT, changed
from tests.speakers import CONVERSATION, PROMPTS, SPEAKERS, public_scale, write_problems, write_speaker

ENGINE = TrlEngine(
    name="trl", device="cpu", processes=1, launch=None, precision="float32", gradient_checkpointing=False, vllm=None
)


@pytest.fixture(params=SPEAKERS, scope="module")
def name(request):
    return request.param


@pytest.fixture
def speaker(name):
    return SPEAKERS[name]


@pytest.fixture(scope="module")
def base(name, tmp_path_factory):
    """Directory of a speaker's model and of problem sets."""
    root = tmp_path_factory.mktemp("speaker")
    write_problems(public_scale(name), Tokens(write_speaker(name, root / "model")).tokenizer, root / "problems")
    return root


@pytest.fixture
def run(name, base, methods):
    return Run(public_scale(name), methods["nsr-prerl"], 0, base / "model", base / "problems")


def test_a_prompt_has_one_start_token_and_no_end_token(speaker, run):
    """Where both template and tokenizer would write it, where the tokenizer does, and where neither."""
    for problem, ids in zip(run.dev, run.read(run.dev), strict=True):
        words = run.tokenizer.convert_ids_to_tokens(ids)
        assert words[0] == (speaker.front or "<|im_start|>") and words[-1] not in speaker.ends
        assert speaker.front is None or words.count(speaker.front) == 1
        assert run.tokenizer.decode(ids) == ("" if speaker.template else speaker.front) + problem.prompt


def test_plain_prompts_have_what_the_tokenizer_puts_in_front(speaker, base):
    """Those of Countdown, whatever the model."""
    tokens = Tokens(base / "model")
    (ids,) = tokens.read(["Q get 14 with 7 4 3 A"], chat=False)
    assert tokens.tokenizer.decode(ids) == (speaker.front or "") + "Q get 14 with 7 4 3 A"


def test_all_end_tokens_are_known_and_something_pads(speaker, base):
    tokens = Tokens(base / "model")
    assert set(tokens.tokenizer.convert_ids_to_tokens(tokens.ends)) == set(speaker.ends)
    assert tokens.ends == sorted(tokens.ends)
    assert tokens.tokenizer.convert_ids_to_tokens(tokens.pad) == (speaker.pad or speaker.eos)
    assert len(tokens.tokenizer) == len(AutoTokenizer.from_pretrained(base / "model"))


def assert_whole(responses, texts, speaker, vocabulary):
    """Each ends with the first of its end tokens, of which its text says nothing; some with each of them."""
    ends = {vocabulary.convert_tokens_to_ids(token) for token in speaker.ends}
    for response, text in zip(responses, texts, strict=True):
        assert response.finished == (response.ids[-1] in ends) and not ends & set(response.ids[:-1])
        assert response.finished or len(response.ids) == 160
        assert not any(token in text for token in speaker.ends)
    assert {response.ids[-1] for response in responses if response.finished} == ends


def test_responses_end_with_any_end_token(speaker, run):
    """160 random ones of 262 tokens each: all but a few end, with each of up to three end tokens dozens of times."""
    _, responses, texts = run.rollout(run.dev * 2, 40, seed=0)
    assert_whole(responses, texts, speaker, run.tokenizer)


def test_evaluation_ends_them_likewise(speaker, base):
    lm = LocalLM(base / "model")
    prompt = lm.tokens.read(["1+1?"], chat=False)[0]
    responses = lm._sample([prompt], 160, Sampling(160), [], [0])
    assert_whole(responses, lm.tokens.texts([response.ids for response in responses]), speaker, lm.tokenizer)


@pytest.mark.slow
def test_every_stage_runs(name, speaker, base, methods, tmp_path):
    """Training, evaluation, gradients; and the trained model is read alike."""
    scale = public_scale(name)
    local.train(scale, "nsr-prerl", methods["nsr-prerl"], 0, base / "model", base / "problems", tmp_path)
    log = pd.read_parquet(tmp_path / "log.parquet")
    assert 0 < log.finished[0] <= 1 and log.used_samples[0] == 0  # a model that was never trained solves nothing
    assert Tokens(tmp_path / "model").ends == Tokens(base / "model").ends
    evaluate(scale, tmp_path / "model", base / "problems", ROOT / "workflow/tasks", tmp_path)
    samples = pd.read_parquet(tmp_path / "samples.parquet")
    assert 0 < samples.finished.mean() < 1
    assert not any(token in response for token in speaker.ends for response in samples.response)
    align_base(scale, methods, 0, tmp_path / "model", base / "problems", tmp_path)
    assert len(pd.read_parquet(tmp_path / "positions.parquet")) > 0


def judged_by_length(run, text, problem):
    """A signal that an untrained model gets, too."""
    return float(len(text) % 2)


def test_sampler_and_update_agree(run, methods, monkeypatch):
    monkeypatch.setattr(Policy, "score", judged_by_length)
    row = run.update(1, methods["grpo"].phases[0])
    assert row["used_samples"] > 0 and row["sampler_gap"] < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["llama", "no template"], indirect=True)
def test_trl_reads_prompts_and_ends_responses_likewise(name, base, methods, tmp_path, monkeypatch):
    """One update of each engine on the same responses: template and tokenizer differ on start, end and padding."""
    trl = pytest.importorskip("prerl.engines.trl", reason="the TRL engine needs the extra `test` or `cluster`")
    monkeypatch.setattr(Policy, "score", judged_by_length)
    scale, found = public_scale(name), {}
    for train, its in ((local.train, scale), (trl.train, changed(scale, engine=ENGINE))):
        out = tmp_path / its.engine.name
        train(its, "grpo", methods["grpo"], 0, base / "model", base / "problems", out)
        dev = pd.read_parquet(out / "dev.parquet")
        found[its.engine.name] = pd.read_parquet(out / "log.parquet").iloc[0], dev, Tokens(out / "model")
    (log, dev, tokens), (other_log, other_dev, other_tokens) = found.values()
    for column in ("reward", "finished", "tokens", "used_samples"):
        assert log[column] == pytest.approx(other_log[column])
    # An untrained model ends two of three responses within the limit: all 20 of them, one time in four thousand.
    assert log.used_samples > 0 and 0 < 12 * log.finished + dev.finished.sum() < 12 + len(dev)
    assert log.grad_norm == pytest.approx(other_log.grad_norm, rel=1e-3)
    before = dev.step == 0
    for column in ("response", "finished", "tokens"):
        assert dev[before][column].tolist() == other_dev[before][column].tolist()
    ended = dev.tokens < scale.rl.max_new_tokens
    assert dev.finished[ended].all()  # shorter ones by an end token, not otherwise
    assert (tokens.ends, tokens.pad) == (other_tokens.ends, other_tokens.pad)


def test_vllm_stops_at_the_same_tokens(base, monkeypatch, methods):
    """In an evaluation, and beside TRL's trainer. vLLM itself would know the tokenizer's alone."""
    from prerl.evaluation.lm_vllm import VllmLM

    trl_settings = pytest.importorskip("prerl.engines.trl_settings", reason="the TRL engine needs the extra `test`")
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(SamplingParams=lambda **settings: settings))
    lm, asked = object.__new__(VllmLM), []
    lm.tokens, lm.max_length = Tokens(base / "model"), 100
    monkeypatch.setattr(lm, "_generate_from", lambda prompts, settings: asked.extend(settings) or [], raising=False)
    lm._sample([[1, 2]], 3, Sampling(10), [], [0])
    assert asked[0]["ignore_eos"] and asked[0]["stop_token_ids"] == lm.tokens.ends
    vllm = Vllm(tensor_parallel=1, memory=0.5, max_length=100)
    scale = public_scale("qwen").model_copy(update={"engine": ENGINE.model_copy(update={"vllm": vllm})})
    made = trl_settings.settings(scale, methods["grpo"], 0, 1, base, lm.tokens.ends)
    assert made.generation_kwargs == {"ignore_eos": True, "stop_token_ids": lm.tokens.ends}


def test_lm_evals_own_tasks_are_read_likewise(name, speaker, base):
    """Their conversations, in one piece and in the two of a likelihood; without template they are plain."""
    lm = LocalLM(base / "model")
    lm.chat = bool(speaker.template)
    text = lm.apply_chat_template(CONVERSATION) if lm.chat else PROMPTS[name]
    assert text == PROMPTS[name]
    words = lm.tokenizer.convert_ids_to_tokens(lm.tok_encode(text))
    assert words.count(speaker.front or "<s>") == (1 if speaker.front else 0)
    context, continuation = lm._encode_pair(text, " 2")
    assert context + continuation == lm.tok_encode(text + " 2")
    assert lm.tokenizer.decode(continuation) == text[len(text.rstrip()) :] + " 2"  # lm-eval's own way to cut
