"""Models as they are read from a directory: the miniature's own kind without transformers, whose import alone takes as
long as a tenth of a small run; all others by transformers, with its code as the judge of ours."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from prerl.model.lean import PassingModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "intermediate_size",
    "rms_norm_eps",
    "tie_word_embeddings",
    "rope_parameters",
    "layer_types",
)
# Keys of a configuration that `PlainModel` either does not depend on, or only has with this value.
FREE = ("bos_token_id", "eos_token_id", "pad_token_id", "initializer_range", "use_cache", "transformers_version")
FREE += ("max_position_embeddings", "max_window_layers", "attention_dropout")
FIXED = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "dtype": "float32",
    "hidden_act": "silu",
    "attention_bias": False,
    "sliding_window": None,
    "use_sliding_window": False,
}
COPIED = ("config.json", "generation_config.json")


class PlainModel(nn.Module):
    """The parameters of a Qwen3 model with default rotary positions, under transformers' names; `LeanModel` is the
    forward pass. Its weights are still to be loaded."""

    model: Any  # modules by name, as transformers has them
    lm_head: Any

    def __init__(self, config: dict[str, Any], files: dict[str, bytes]) -> None:
        """config: as in config.json; files: those of the model's directory that are saved again as they are."""
        super().__init__()
        self.config, self.files = SimpleNamespace(**config), files
        hidden, inner, head = config["hidden_size"], config["intermediate_size"], config["head_dim"]
        heads, kv_heads = config["num_attention_heads"] * head, config["num_key_value_heads"] * head

        def block() -> nn.ModuleDict:
            attention = {"q_proj": Weight(heads, hidden), "k_proj": Weight(kv_heads, hidden)}
            attention |= {"v_proj": Weight(kv_heads, hidden), "o_proj": Weight(hidden, heads)}
            attention |= {"q_norm": Weight(head), "k_norm": Weight(head)}
            mlp = {"gate_proj": Weight(inner, hidden), "up_proj": Weight(inner, hidden)}
            return nn.ModuleDict(
                {
                    "self_attn": nn.ModuleDict(attention),
                    "mlp": nn.ModuleDict(mlp | {"down_proj": Weight(hidden, inner)}),
                    "input_layernorm": Weight(hidden),
                    "post_attention_layernorm": Weight(hidden),
                }
            )

        self.model = nn.ModuleDict(
            {
                "embed_tokens": Weight(config["vocab_size"], hidden),
                "layers": nn.ModuleList(block() for _ in range(config["num_hidden_layers"])),
                "norm": Weight(hidden),
                "rotary_emb": Rotary(config["rope_parameters"]["rope_theta"], head),
            }
        )
        self.lm_head = Weight(config["vocab_size"], hidden)
        self._tie()

    def _tie(self) -> None:
        if self.config.tie_word_embeddings:
            self.lm_head.weight = self.model["embed_tokens"].weight

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """As any module's, but that a tied output layer needs no weights of its own."""
        found = super().load_state_dict(state_dict, strict=False, assign=assign)
        self._tie()
        missing = [name for name in found.missing_keys if name not in self._left_out()]
        if strict and (missing or found.unexpected_keys):
            raise RuntimeError(f"missing {missing}, unexpected {found.unexpected_keys}")
        return found

    def _left_out(self) -> set[str]:
        return {"lm_head.weight"} if self.config.tie_word_embeddings else set()

    def save_pretrained(self, path: Path, state_dict: dict[str, Tensor] | None = None, **_: Any) -> None:
        """Writes a model directory that transformers, lm-eval and vLLM load."""
        path.mkdir(parents=True, exist_ok=True)
        for name, content in self.files.items():
            (path / name).write_bytes(content)
        state = {
            name: value for name, value in (state_dict or self.state_dict()).items() if name not in self._left_out()
        }
        save_file(
            {name: value.contiguous() for name, value in state.items()}, path / "model.safetensors", {"format": "pt"}
        )


Model: TypeAlias = "PreTrainedModel | PlainModel"


class Weight(nn.Module):
    """A matrix or vector by itself. torch's own layers draw one, which takes a second to import."""

    bias = None

    def __init__(self, *sizes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(sizes))


class Rotary(nn.Module):
    attention_scaling = 1.0

    def __init__(self, base: float, head_dim: int) -> None:
        super().__init__()
        powers = torch.arange(0, head_dim, 2, dtype=torch.int64).float() / head_dim
        self.register_buffer("inv_freq", 1.0 / base**powers, persistent=False)


def load(path: Path) -> "Model":
    """Loads a model directory (safetensors) in float32, without dropout. Raises UserError if it is not covered, lacks
    weights, or if the logits of `LeanModel` are not transformers'."""
    device = torch.get_default_device()
    with torch.device("cpu"):
        model = _read_plain(path) or load_pretrained(path)
    return model.to(device)  # pyright: ignore[reportArgumentType]  (of transformers' own signature)


def load_pretrained(path: Path) -> "PreTrainedModel":
    """Loads a model directory (safetensors) in float32, without dropout, as transformers' own class. Raises UserError
    if it is not covered, lacks weights, or if the logits of `LeanModel` are not transformers'."""
    from prerl.model.families import check_logits, read_model

    model = read_model(path)
    with torch.inference_mode():
        lean = PassingModel(model)
        check_logits(model, lambda ids: lean.logits(lean.hidden(ids)), path)
    return model


def _read_plain(path: Path) -> PlainModel | None:
    """None if anything is not as `PlainModel` has it, or not whole: transformers then says what is wrong."""
    try:
        files = {name: (path / name).read_bytes() for name in COPIED}
        config, weights = json.loads(files["config.json"]), load_file(path / "model.safetensors")
    except (OSError, ValueError, SafetensorError):
        return None
    if not isinstance(config, dict) or set(config) != {*SIZES, *FREE, *FIXED}:
        return None
    rope = config["rope_parameters"]
    if any(config[name] != value for name, value in FIXED.items()) or set(config["layer_types"]) != {"full_attention"}:
        return None
    if not isinstance(rope, dict) or set(rope) != {"rope_type", "rope_theta"} or rope["rope_type"] != "default":
        return None
    model = PlainModel(config, files)
    wanted = {name: value.shape for name, value in model.state_dict().items() if name not in model._left_out()}
    if wanted != {name: value.shape for name, value in weights.items()}:
        return None
    model.load_state_dict({name: value.float() for name, value in weights.items()}, assign=True)
    return model.eval()
