"""What is refused when a model is read: settings not covered, weights not there, another computation."""

import json

import pytest
from transformers import LlamaConfig, Qwen2Config
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.qwen2.modeling_qwen2 import Qwen2MLP

from prerl.errors import UserError
from prerl.model.families import ROTATIONS
from prerl.model.plain import load
from tests.random_models import GROUPED, KINDS, LINEAR, made


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
