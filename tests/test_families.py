"""Models of each family, tiny and random, against transformers; and what is refused when a model is read."""

import json

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.qwen2.modeling_qwen2 import Qwen2MLP

from prerl.errors import UserError
from prerl.families import ROTATIONS
from prerl.model import LeanModel, load
from prerl.sampler import Sampling, sample

SIZES = {
    "vocab_size": 61,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "intermediate_size": 80,
    "max_position_embeddings": 64,
    "pad_token_id": None,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GROUPED = {"num_attention_heads": 4, "num_key_value_heads": 2}
WHOLE = {"num_attention_heads": 3, "num_key_value_heads": 3}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
YARN = {"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 4.0, "original_max_position_embeddings": 16}
LINEAR = {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0}
KINDS = {
    "llama": (LlamaConfig, WHOLE | {"tie_word_embeddings": True}),
    "llama, grouped, untied, rope llama3": (LlamaConfig, GROUPED | {"rope_parameters": LLAMA3}),
    "llama, biases": (LlamaConfig, GROUPED | {"attention_bias": True, "mlp_bias": True}),
    "llama, mlp bias alone, gelu": (LlamaConfig, WHOLE | {"mlp_bias": True, "hidden_act": "gelu"}),
    "llama, wide heads, squared relu": (LlamaConfig, GROUPED | {"head_dim": 20, "hidden_act": "relu2"}),
    "llama, an activation with parameters": (LlamaConfig, GROUPED | {"hidden_act": "prelu"}),
    "llama, rope linear": (LlamaConfig, GROUPED | {"rope_parameters": LINEAR}),
    "qwen2": (Qwen2Config, GROUPED),
    "qwen2, rope yarn, tied": (Qwen2Config, GROUPED | {"rope_parameters": YARN, "tie_word_embeddings": True}),
    "qwen2, a window as long as all positions": (
        Qwen2Config,
        GROUPED | {"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 1},
    ),
    "qwen3": (Qwen3Config, GROUPED | {"head_dim": 16, "tie_word_embeddings": True}),
    "qwen3, attention bias, untied": (Qwen3Config, GROUPED | {"head_dim": 20, "attention_bias": True}),
}
CLASSES = {LlamaConfig: LlamaForCausalLM, Qwen2Config: Qwen2ForCausalLM, Qwen3Config: Qwen3ForCausalLM}
PROMPTS = [[1, 20, 30], [1, 40, 50, 60, 21], [1, 33]]
LONG = [[1, *range(20, 45)], [1, *range(30, 59), 21], [1, 33]]  # longer than responses: rows share what was read


def made(config_class, settings):
    """A model whose every weight is drawn, wide enough for activations and attention to be far from linear."""
    torch.manual_seed(0)
    model = CLASSES[config_class](config_class(**SIZES, **settings)).float().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = 1.0 if "embed" in name else 0.3 if parameter.dim() == 1 else 1.5 * parameter.shape[1] ** -0.5
            parameter.copy_(scale * torch.randn_like(parameter) + (1.0 if "norm" in name else 0.0))
    return model


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
    loaded, ids = load(tmp_path), torch.tensor([[1, 2, 20, 30]])
    for logits in (loaded(ids).logits, model(ids).logits):
        logits.log_softmax(-1)[0, -1, 5].backward()
    found, expected = (one.model.embed_tokens.weight.grad for one in (loaded, model))
    assert float(expected[2].abs().max()) > 0
    assert_equal_but_for_rounding(found, expected)


def test_the_update_of_either_engine_is_without_dropout(tmp_path):
    made(LlamaConfig, WHOLE | {"attention_dropout": 0.5}).save_pretrained(tmp_path)
    model, ids = load(tmp_path).train(), torch.tensor([[1, 20, 30]])
    assert torch.equal(model(ids).logits, model(ids).logits)


@pytest.fixture
def saved(tmp_path):
    """Writes a saved model whose configuration was changed by hand afterwards; returns its directory."""

    def save(config_class=Qwen2Config, **changes):
        made(config_class, GROUPED).save_pretrained(tmp_path)
        file = tmp_path / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))
        return tmp_path

    return save


WINDOW = {"use_sliding_window": True, "sliding_window": 32, "max_window_layers": 1, "layer_types": None}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}, "model_type 'gpt2'"),
        ({"hidden_act": "swoosh"}, "hidden_act 'swoosh'"),
        (WINDOW, "sliding_window 32"),
        ({"layer_types": ["full_attention", "full_attention", "chunked_attention"]}, "layer_types 'chunked_attention'"),
        ({"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, "rope_type 'dynamic'"),
        ({"rope_parameters": LINEAR | {"partial_rotary_factor": 0.5}}, "partial_rotary_factor 0.5"),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "quantization_config 'awq'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_not_covered_is_refused_in_one_line(saved, changes, named):
    path = saved(**changes)
    with pytest.raises(UserError) as refused:
        load(path)
    assert str(refused.value).startswith(f"{path}: {named} of its configuration is not covered: ")
    assert "\n" not in str(refused.value)


def test_a_window_of_llama_too(saved):
    """Transformers' Llama does not read it; vLLM does."""
    with pytest.raises(UserError, match="sliding_window 32"):
        load(saved(LlamaConfig, sliding_window=32))


def test_a_window_that_no_layer_has_is_no_window(saved):
    load(saved(use_sliding_window=True, sliding_window=32, max_window_layers=3, layer_types=None))


def test_rotations_whose_frequencies_depend_on_the_length_are_refused(saved):
    """All that transformers knows are either covered, with a test above, or refused."""
    tested = {settings.get("rope_parameters", {}).get("rope_type", "default") for _, settings in KINDS.values()}
    assert tested == set(ROTATIONS)
    for kind in set(ROPE_INIT_FUNCTIONS) - tested:
        factors = {"short_factor": [1.0] * 6, "long_factor": [2.0] * 6, "original_max_position_embeddings": 16}
        with pytest.raises(UserError, match=f"rope_type '{kind}' of its configuration is not covered"):
            load(saved(rope_parameters={"rope_type": kind, "rope_theta": 1e4, "factor": 2.0, **factors}))


@pytest.mark.parametrize("text", ["{", '{"model_type": "no-such-model"}', "{}", "[]"])
def test_a_configuration_that_transformers_cannot_read_is_one_line(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError) as refused:
        load(tmp_path)
    assert str(refused.value).startswith(str(tmp_path)) and "\n" not in str(refused.value)


def test_a_model_with_code_of_its_own_is_refused_without_asking(tmp_path, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("asked"))
    (tmp_path / "config.json").write_text('{"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config"}}')
    (tmp_path / "mine.py").write_text("raise SystemExit\n")
    with pytest.raises(UserError, match=r"config\.json: transformers cannot read it"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "weight"),
    [
        ({"mlp_bias": True}, "model.layers.0.mlp.down_proj.bias"),
        ({"num_hidden_layers": 4, "layer_types": None}, "model.layers.3.input_layernorm.weight"),
        ({"intermediate_size": 88}, "model.layers.0.mlp.down_proj.weight"),
    ],
)
def test_weights_that_transformers_would_make_up_are_refused(saved, changes, weight):
    """Missing ones, and ones of another size than the configuration's."""
    path = saved(LlamaConfig, **changes)
    with pytest.raises(UserError, match=rf"weights are missing or not of config.json's size, first {weight}"):
        load(path)


def test_a_directory_without_weights_is_one_line(saved):
    path = saved()
    (path / "model.safetensors").unlink()
    with pytest.raises(UserError, match=f"{path}: transformers cannot load it: "):
        load(path)


def test_whatever_else_computes_another_model_shows_in_the_logits(saved, monkeypatch):
    """A stand-in for a setting that the list does not know: a factor of one percent."""
    path = saved()
    load(path)
    original = Qwen2MLP.forward
    monkeypatch.setattr(Qwen2MLP, "forward", lambda mlp, x: 1.01 * original(mlp, x))
    with pytest.raises(UserError, match=rf"{path}: the logits computed here differ from transformers' by \d+\.\d%"):
        load(path)
