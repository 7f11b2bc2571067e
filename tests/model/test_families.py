"""Models of each family, tiny and random, against transformers."""

import pytest
import torch
from transformers import LlamaConfig, Qwen3Config

from prerl.model.lean import LeanModel
from prerl.model.plain import load, load_pretrained
from prerl.model.sampler import Sampling, sample
from tests.random_models import CLASSES, GROUPED, KINDS, LLAMA3, SIZES, WHOLE, YARN, made

PROMPTS = [[1, 20, 30], [1, 40, 50, 60, 21], [1, 33]]
LONG = [[1, *range(20, 45)], [1, *range(30, 59), 21], [1, 33]]  # longer than responses: rows share what was read


@pytest.fixture(params=KINDS)
def kind(request, tmp_path):
    """A model that was saved and loaded as the stages load it, and transformers' own reading of the same files."""
    model = made(*KINDS[request.param])
    model.save_pretrained(tmp_path)
    return load(tmp_path), model


def assert_equal_but_for_rounding(found, expected, size=None):
    """Single precision: 6e-8 a rounding, with sums of up to 80 terms, some 20 products in a row, and activations that
    magnify it some times; relative to the largest value, or that of `size`, which the rounding is of."""
    assert float((found - expected).abs().max() / (expected if size is None else size).abs().max()) < 2e-5


def test_logits_are_transformers(kind):
    loaded, model = kind
    ids = torch.randint(0, 61, (4, 40), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        lean = LeanModel(loaded)
        assert_equal_but_for_rounding(lean.logits(lean.hidden(ids)), model(ids).logits)


def test_gradients_are_transformers(kind):
    loaded, model = kind
    ids = torch.randint(0, 61, (3, 9), generator=torch.Generator().manual_seed(1))
    lean = LeanModel(loaded)
    for logits in (lean.logits(lean.hidden(ids)), model(ids).logits):
        logits.log_softmax(-1)[..., 5].sum().backward()
    found, expected = ([parameter.grad for parameter in one.parameters()] for one in (loaded, model))
    assert len(found) == len(expected) > 20
    for one, other in zip(found, expected, strict=True):
        assert_equal_but_for_rounding(one, other)


@pytest.mark.parametrize("prompts", [PROMPTS, LONG], ids=["a cache a row", "shared prompts"])
def test_the_sampler_decodes_as_transformers(kind, prompts):
    """The log-probabilities of what was sampled, through the decoder with folded norms and either cache."""
    loaded, model = kind
    with torch.inference_mode():
        lean = LeanModel(loaded)
        responses = sample(lean, prompts, 2, Sampling(12), {2}, 0, torch.Generator().manual_seed(0))
        for index, response in enumerate(responses):
            prompt = prompts[index // 2]
            logits = model(torch.tensor([prompt + response.ids])).logits[0, len(prompt) - 1 : -1]
            logp = logits.log_softmax(-1).gather(1, torch.tensor(response.ids)[:, None])[:, 0]
            assert_equal_but_for_rounding(torch.tensor(response.logp), logp, size=logits)


def test_greedy_responses_are_those_of_transformers_generate(kind):
    loaded, model = kind
    with torch.inference_mode():
        responses = sample(LeanModel(loaded), PROMPTS, 1, Sampling(12, 0), {2}, 0, torch.Generator())
    for response, prompt in zip(responses, PROMPTS, strict=True):
        out = model.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=12, pad_token_id=0)
        assert response.ids == out[0, len(prompt) :].tolist()


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("llama, biases", {"mlp_bias": False}),
        ("llama, biases", {"attention_bias": False}),
        ("llama, mlp bias alone, gelu", {"hidden_act": "silu"}),
        ("llama, grouped, untied, rope llama3", {"rope_parameters": LLAMA3 | {"factor": 2.0}}),
        ("qwen2, rope yarn, tied", {"rope_parameters": YARN | {"factor": 2.0}}),
        ("qwen3, attention bias, untied", {"rms_norm_eps": 1e-2}),
    ],
)
def test_these_models_would_show_another_computation(name, other):
    """So that the tests above can fail: each setting moves the logits far beyond the tolerance."""
    config_class, settings = KINDS[name]
    model = made(config_class, settings)
    changed = CLASSES[config_class](config_class(**SIZES, **(settings | other))).eval()
    changed.load_state_dict(model.state_dict(), strict=False)
    ids = torch.randint(0, 61, (4, 40), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        difference = (changed(ids).logits - model(ids).logits).abs().max() / model(ids).logits.abs().max()
    assert float(difference) > 1e-3


def test_the_end_token_that_pads_has_a_gradient(tmp_path):
    """Transformers gives the row of pad_token_id none, though it is a token of prompts and responses too."""
    settings = GROUPED | {"head_dim": 16, "tie_word_embeddings": False}
    model = made(Qwen3Config, settings)
    model.config.pad_token_id = 2
    model.save_pretrained(tmp_path)
    loaded, ids = load_pretrained(tmp_path), torch.tensor([[1, 2, 20, 30]])
    for logits in (loaded(ids).logits, model(ids).logits):
        logits.log_softmax(-1)[0, -1, 5].backward()
    found, expected = (one.model.embed_tokens.weight.grad for one in (loaded, model))
    assert float(expected[2].abs().max()) > 0
    assert_equal_but_for_rounding(found, expected)


def test_the_update_of_either_engine_is_without_dropout(tmp_path):
    made(LlamaConfig, WHOLE | {"attention_dropout": 0.5}).save_pretrained(tmp_path)
    model, ids = load_pretrained(tmp_path).train(), torch.tensor([[1, 20, 30]])
    assert torch.equal(model(ids).logits, model(ids).logits)
