"""Tokenizers of four kinds, each with a tiny random model, as the families have them: byte tokens and special ones."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.processors import TemplateProcessing
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from prerl.files.checksums import sha256
from prerl.problems.public import PublicSet
from prerl.problems.sets import write_public_sets
from prerl.settings.scale import load_scale
from tests.helpers import ROOT, changed

LLAMA = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
QWEN = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


@dataclass(frozen=True)
class Speaker:
    """`special` tokens in their order, ids from 0; `eos` alone is what the tokenizer calls its end token."""

    special: list[str]
    template: str | None
    eos: str
    pad: str | None
    front: str | None  # what the tokenizer puts in front of any text
    behind: str | None
    declared: list[str]  # of generation_config.json
    ends: list[str]  # all that shall end a response
    start: str  # in the pre-train space


SPEAKERS = {
    "llama": Speaker(
        [
            "<|begin_of_text|>",
            "<|end_of_text|>",
            "<|start_header_id|>",
            "<|end_header_id|>",
            "<|eom_id|>",
            "<|eot_id|>",
        ],
        LLAMA,
        eos="<|end_of_text|>",
        pad=None,
        front="<|begin_of_text|>",
        behind=None,
        declared=["<|end_of_text|>", "<|eom_id|>"],
        ends=["<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"],
        start="<|begin_of_text|>",
    ),
    "qwen": Speaker(
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        QWEN,
        eos="<|endoftext|>",
        pad="<|endoftext|>",
        front=None,
        behind=None,
        declared=["<|endoftext|>"],
        ends=["<|endoftext|>", "<|im_end|>"],
        start="<|im_start|>",
    ),
    "gemma": Speaker(
        ["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"],
        GEMMA,
        eos="<eos>",
        pad="<pad>",
        front="<bos>",
        behind=None,
        declared=["<eos>"],
        ends=["<eos>", "<end_of_turn>"],
        start="<bos>",
    ),
    "no template": Speaker(
        ["<s>", "</s>"], None, eos="</s>", pad=None, front="<s>", behind="</s>", declared=[], ends=["</s>"], start="<s>"
    ),
}
CONVERSATION = [
    {"role": "system", "content": "Think."},
    {"role": "user", "content": "2+2?"},
    {"role": "assistant", "content": "4"},
    {"role": "user", "content": "1+1?"},
]
PROMPTS = {
    "llama": (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nThink.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n2+2?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n4<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n1+1?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
    "qwen": (
        "<|im_start|>system\nThink.<|im_end|>\n<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n4<|im_end|>\n"
        "<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n"
    ),
    "gemma": (
        "<bos><start_of_turn>user\nThink.\n\n2+2?<end_of_turn>\n<start_of_turn>model\n4<end_of_turn>\n"
        "<start_of_turn>user\n1+1?<end_of_turn>\n<start_of_turn>model\n"
    ),
    "no template": "Think.\n\nQuestion: 2+2?\nAnswer: 4\n\nQuestion: 1+1?\nAnswer:",
}


def tokenizer(speaker: Speaker) -> PreTrainedTokenizerFast:
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate([*speaker.special, *letters])}
    backend = Tokenizer(BPE(vocabulary, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    if speaker.front:
        form = f"{speaker.front} $A {speaker.behind or ''}".strip()
        around = [(token, vocabulary[token]) for token in (speaker.front, speaker.behind) if token]
        backend.post_processor = TemplateProcessing(single=form, special_tokens=around)
    named = {"eos_token": speaker.eos, "bos_token": speaker.front, "pad_token": speaker.pad}
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        **{key: token for key, token in named.items() if token},
        clean_up_tokenization_spaces=False,
    )
    # As in published models: a token of its own kind, of which special_tokens_map says nothing.
    made.add_tokens([token for token in speaker.special if token not in made.all_special_tokens], special_tokens=False)
    made.chat_template = speaker.template
    return made


def write_speaker(name: str, path: Path) -> Path:
    """A model directory; returns it."""
    speaker = SPEAKERS[name]
    made = tokenizer(speaker)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48, "num_attention_heads": 4}
    ids = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    config_class, model_class = (Qwen2Config, Qwen2ForCausalLM) if name == "qwen" else (LlamaConfig, LlamaForCausalLM)
    torch.manual_seed(0)
    model = model_class(config_class(vocab_size=len(made), num_key_value_heads=2, **sizes, **ids))
    model.save_pretrained(path)
    made.save_pretrained(path)
    declared = [made.convert_tokens_to_ids(token) for token in speaker.declared]
    (path / "generation_config.json").write_text(json.dumps({"eos_token_id": declared} if declared else {}))
    return path


def public_scale(name: str):
    """The scale `smollm`, small, for a speaker; its problems are those of `write_problems`."""
    scale = load_scale(ROOT / "workflow/scales/smollm.yaml")
    return changed(
        scale,
        start_token=SPEAKERS[name].start,
        threads=1,
        problems=changed(scale.problems, train="mine", dev=2, benchmarks={"gsm8k": 3}),
        rl=changed(
            scale.rl,
            steps=1,
            checkpoint_every=1,
            prompts_per_step=3,
            group_size=4,
            max_new_tokens=160,
            temperature=1.0,
            micro_batch=4,
        ),
        evaluation=changed(scale.evaluation, max_new_tokens=160, temperature=1.0),
        analysis=changed(scale.analysis, alignment_rollouts=32),
    )


def write_problems(scale, made: PreTrainedTokenizerFast, path: Path) -> Path:
    """The problem sets of a speaker's scale; returns their directory."""
    path.mkdir()

    def entry(first: int, count: int) -> PublicSet:
        source = path / f"source-{first}.jsonl"
        rows = [{"ask": f"What is {n}+1?", "gold": str(n + 1)} for n in range(first, first + count)]
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
        place = {"repository": "a/b", "revision": "0" * 40, "path": "s.jsonl", "sha256": sha256(source)}
        return PublicSet(**place, question="ask", answer="gold", problems=count)

    write_public_sets(scale.problems, {"mine": entry(0, 12), "gsm8k": entry(20, 8)}, path, made, path)
    return path
