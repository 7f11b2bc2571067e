"""Tiny random models of the families: every kind of configuration that is covered."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

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


def made(config_class, settings):
    """A model whose every weight is drawn, wide enough for activations and attention to be far from linear."""
    torch.manual_seed(0)
    model = CLASSES[config_class](config_class(**SIZES, **settings)).float().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = 1.0 if "embed" in name else 0.3 if parameter.dim() == 1 else 1.5 * parameter.shape[1] ** -0.5
            parameter.copy_(scale * torch.randn_like(parameter) + (1.0 if "norm" in name else 0.0))
    return model
