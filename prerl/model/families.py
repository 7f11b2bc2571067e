"""Which models are covered: the settings of a configuration that change what Llama, Qwen2 and Qwen3 compute.

Of what transformers' code of these families reads, `LeanModel` takes over all sizes, grouped-query attention, biases of
attention and MLP, tied or untied embeddings, any activation, and rotary positions whose frequencies are one table. The
rest is refused here, where a model is first read; what this list should miss, shows when logits are compared.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.activations import ACT2CLS

from prerl.errors import UserError, lacking

ARCHITECTURES = ("llama", "qwen2", "qwen3")
ROTATIONS = ("default", "linear", "llama3", "yarn")  # others depend on the sequence's length, or belong elsewhere

# How far logits may be from transformers', as a share of their size. Rounding alone, 6e-8 times the root of the terms
# added (some 1e4 a product, some 250 products in a row), makes about 1e-4 in a model of 4B; another model makes more.
TOLERANCE = 1e-3


def read_model(path: Path) -> PreTrainedModel:
    """A model directory (safetensors) as transformers reads it, in float32, without dropout. Raises UserError if it is
    not covered or lacks weights."""
    config = read_config(path)
    config.attention_dropout = 0.0  # TRL's update would draw it; the sampler does not
    try:
        model, found = AutoModelForCausalLM.from_pretrained(  # pyright: ignore[reportGeneralTypeIssues]  (with the info)
            path,
            config=config,
            dtype=torch.float32,
            local_files_only=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,  # reported below, in one line
            output_loading_info=True,
        )
    except OSError as error:
        if lacking(error):
            raise
        raise UserError(f"{path}: transformers cannot load it: {one_line(error)}") from error
    other = sorted(found["missing_keys"]) + sorted(key for key, *_ in found["mismatched_keys"])
    if other:  # transformers would make them up
        raise UserError(f"{path}: {len(other)} weights are missing or not of config.json's size, first {other[0]}")
    # Its row would get no gradient; where the end token pads, that is a token of prompts and responses.
    model.model.embed_tokens.padding_idx = None
    return model


def check_logits(model: PreTrainedModel, logits: Callable[[Tensor], Tensor], path: Path) -> None:
    """Compares a forward pass (B, T) -> (B, T, vocabulary) with transformers' on a few tokens. Raises UserError if it
    computes another model. `sampler_gap` would not say so: sampler and update share the fault."""
    ids = torch.linspace(0, model.config.vocab_size - 1, 8).long()[None]
    expected = model(ids, use_cache=False).logits
    difference = float((logits(ids) - expected).norm() / expected.norm())
    if difference > TOLERANCE:
        raise UserError(
            f"{path}: the logits computed here differ from transformers' by {difference:.1%}; something in its "
            "config.json is not covered: choose another model"
        )


def read_config(path: Path) -> PretrainedConfig:
    """The configuration of a model directory. Raises UserError if it is not covered, or is none."""
    try:
        # Else transformers would ask on the terminal whether a model's own code may run: it never may.
        config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError) as error:
        if lacking(error):
            raise
        raise UserError(f"{path}/config.json: transformers cannot read it: {one_line(error)}") from error
    check_config(config, path)
    return config


def check_config(config: PretrainedConfig, path: Path) -> None:
    """Raises UserError if `LeanModel` would compute another model than this configuration's, or none."""

    def refuse(key: str, value: object, reason: str) -> None:
        raise UserError(f"{path}: {key} {value!r} of its configuration is not covered: {reason}")

    if config.model_type not in ARCHITECTURES:
        refuse("model_type", config.model_type, f"choose a model of one of {', '.join(ARCHITECTURES)}")
    if getattr(config, "quantization_config", None) is not None:
        refuse("quantization_config", _kind(config.quantization_config), "choose the model as it was before")
    if config.hidden_act not in ACT2CLS:
        refuse("hidden_act", config.hidden_act, "transformers has no such activation")
    window, longest = getattr(config, "sliding_window", None), config.max_position_embeddings
    kinds = set(getattr(config, "layer_types", None) or (["full_attention"] if window is None else []))
    if kinds - {"full_attention", "sliding_attention"}:
        refuse("layer_types", min(kinds - {"full_attention", "sliding_attention"}), "all layers must attend to all")
    if kinds != {"full_attention"} and (window is None or window < longest):
        refuse(
            "sliding_window",
            window,
            f"it is shorter than max_position_embeddings, {longest}; choose another model, or, if none of your "
            "sequences is longer than the window, set use_sliding_window to false and take layer_types out",
        )
    rope = config.rope_parameters or {}
    if (kind := rope.get("rope_type")) not in ROTATIONS:
        refuse("rope_type", kind, f"choose a model with one of {', '.join(ROTATIONS)}")
    if (share := rope.get("partial_rotary_factor")) not in (None, 1):
        refuse("partial_rotary_factor", share, "positions must turn all of a head")


def _kind(quantization: object) -> object:
    return quantization.get("quant_method") if isinstance(quantization, dict) else type(quantization).__name__


def one_line(error: Exception) -> str:
    """What a library says of an error, without its line breaks."""
    return " ".join(str(error).split()) or type(error).__name__
