"""The base model of the small scales: a Qwen3 pretrained on worked Countdown solutions, saved as any other model is."""

import math
import random
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from prerl.base.committed import pretraining
from prerl.base.supervised import learn_all
from prerl.files.atomic import write, write_table
from prerl.files.checksums import checksums
from prerl.files.fingerprint import fingerprint
from prerl.files.record import RunRecord
from prerl.model.checkpoint import Checkpoints
from prerl.model.lean import LeanModel
from prerl.model.processor import occupy
from prerl.problems.corpus import VOCABULARY, Habits, document
from prerl.seeds import seed_of
from prerl.settings.model import Architecture, CountdownProblems, Pretrain
from prerl.settings.scale import Scale

BATCHES_A_BLOCK = 16  # documents are sorted by length within a block of so many batches: little padding

PAD = VOCABULARY.index("<pad>")


def tokenizer() -> PreTrainedTokenizerFast:
    """One token a word or number; `<bos>` is put in front."""
    ids = {word: index for index, word in enumerate(VOCABULARY)}
    backend = Tokenizer(WordLevel(ids, unk_token="<pad>"))
    backend.pre_tokenizer = WhitespaceSplit()
    backend.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", ids["<bos>"])])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<pad>",
        clean_up_tokenization_spaces=False,
    )


def fresh_model(architecture: Architecture, seed: int, longest: int) -> PreTrainedModel:
    """A randomly initialised model in float32 with tied embeddings for the tokenizer above."""
    ids = {word: index for index, word in enumerate(VOCABULARY)}
    config = Qwen3Config(
        vocab_size=len(VOCABULARY),
        max_position_embeddings=longest,
        tie_word_embeddings=True,
        pad_token_id=ids["<pad>"],
        bos_token_id=ids["<bos>"],
        eos_token_id=ids["<eos>"],
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        dtype="float32",
        **architecture.model_dump(),
    )
    torch.manual_seed(seed)
    return Qwen3ForCausalLM(config).float()


def batches(scale: Scale, seed: int, encode: PreTrainedTokenizerFast, first_step: int) -> Iterator[Tensor]:
    """Token batches (B, T), right-padded, of the seed's documents of steps `first_step`, ... (from 0)."""
    _, settings, problems = _made_here(scale)
    habits = Habits()
    size = settings.documents_per_step
    for block in range(first_step // BATCHES_A_BLOCK, math.ceil(settings.steps / BATCHES_A_BLOCK)):
        rng = random.Random(seed_of(seed, "corpus", block))
        texts = [
            document(rng, problems.largest_number, habits, problems.restates) for _ in range(size * BATCHES_A_BLOCK)
        ]
        documents = sorted(encode(texts)["input_ids"], key=len)
        order = rng.sample(range(BATCHES_A_BLOCK), BATCHES_A_BLOCK)
        for position, index in enumerate(order):
            if block * BATCHES_A_BLOCK + position >= first_step:
                batch = documents[index * size : (index + 1) * size]
                longest = max(map(len, batch))
                yield torch.tensor([ids + [PAD] * (longest - len(ids)) for ids in batch])


def _made_here(scale: Scale) -> tuple[Architecture, Pretrain, CountdownProblems]:
    """What a scale has whose base model is made here; its check lets only the three together pass."""
    assert isinstance(scale.model, Architecture) and isinstance(scale.problems, CountdownProblems)
    assert scale.pretrain is not None
    return scale.model, scale.pretrain, scale.problems


def pretrain(scale: Scale, seed: int, out: Path) -> None:
    """Trains the base model of a seed, which draws its weights and documents, for a fixed number of steps; writes
    out/model, out/log.parquet and out/run.json.

    Can be killed at any time: it goes on from the last checkpoint in out/checkpoints.
    """
    architecture, settings, _ = _made_here(scale)
    occupy(settings.threads)
    config = pretraining(scale, seed)
    record = RunRecord("base", config)
    encode = tokenizer()
    model = fresh_model(architecture, seed_of(seed, "weights") % 2**32, longest=512)
    checkpoints = Checkpoints(out / "checkpoints", config | {"code": fingerprint(__name__)})

    def backward(ids: Tensor) -> tuple[float, int]:
        lean = LeanModel(model)
        labels = ids[:, 1:].masked_fill(ids[:, 1:] == PAD, -100)
        loss = F.cross_entropy(lean.logits(lean.hidden(ids[:, :-1])).flatten(0, 1), labels.flatten(), ignore_index=-100)
        loss.backward()
        return loss.item(), int((labels != -100).sum())

    name = f"base seed {seed}"
    log = learn_all(
        name, settings, model, encode, checkpoints, lambda first: batches(scale, seed, encode, first), backward
    )
    write(out / "model", lambda path: save(model, encode, path))
    write_table(out / "log.parquet", pd.DataFrame(log))
    record.write(
        out / "run.json",
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        tokens=sum(row["tokens"] for row in log),
        final_loss=log[-1]["loss"],
        outputs=checksums([out / "model", out / "log.parquet"], out),
    )
    checkpoints.clear()


def save(model: PreTrainedModel, encode: PreTrainedTokenizerFast, path: Path) -> None:
    """Saves model (safetensors) and tokenizer so that transformers, lm-eval and vLLM load them. Weights are rounded to
    half precision, at half the size, since they are committed; they are float32 again for whoever loads them."""
    model.save_pretrained(path)
    weights = {name: value.half() for name, value in load_file(path / "model.safetensors").items()}
    save_file(weights, path / "model.safetensors", {"format": "pt"})
    encode.save_pretrained(path)
