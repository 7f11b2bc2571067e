"""The miniature's own model and tokenizer, read without transformers, against transformers'."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from prerl.errors import UserError
from prerl.model.adamw import AdamW
from prerl.model.lean import LeanModel
from prerl.model.plain import PlainModel, load
from prerl.model.plain_tokenizer import read_plain_tokenizer
from prerl.model.tokens import Tokens
from tests.pretrained import MODEL


@pytest.fixture
def directory(tmp_path):
    return shutil.copytree(MODEL, tmp_path / "model")


def test_the_model_is_transformers(directory):
    model, theirs = load(directory), AutoModelForCausalLM.from_pretrained(directory)
    assert isinstance(model, PlainModel)
    found, expected = dict(model.named_parameters()), dict(theirs.named_parameters())
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in found)
    assert torch.equal(model.model.rotary_emb.inv_freq, theirs.model.rotary_emb.inv_freq)
    ids = torch.randint(0, theirs.config.vocab_size, (3, 30), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        lean, logits = LeanModel(model), theirs(ids).logits
        torch.testing.assert_close(lean.logits(lean.hidden(ids)), logits, atol=1e-4, rtol=1e-4)


def test_it_is_saved_as_it_was_read(directory, tmp_path):
    model = load(directory)
    model.save_pretrained(tmp_path / "saved")
    for name in ("config.json", "generation_config.json"):
        assert (tmp_path / "saved" / name).read_bytes() == (directory / name).read_bytes()
    old, new = (load_file(path / "model.safetensors") for path in (directory, tmp_path / "saved"))
    assert old.keys() == new.keys() and all(torch.equal(old[name], new[name]) for name in old)
    assert type(AutoModelForCausalLM.from_pretrained(tmp_path / "saved")).__name__ == "Qwen3ForCausalLM"
    twice = load(tmp_path / "saved")
    with torch.no_grad():
        twice.model.embed_tokens.weight.zero_()
    twice.load_state_dict(old, strict=False)  # as a checkpoint is restored
    assert torch.equal(twice.lm_head.weight, model.lm_head.weight)
    assert twice.lm_head.weight is twice.model.embed_tokens.weight


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_act", "gelu"),
        ("attention_bias", True),
        ("rope_parameters", {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 2.0}),
        ("something_new", 1),
    ],
)
def test_whatever_is_set_otherwise_is_left_to_transformers(directory, key, value):
    config = json.loads((directory / "config.json").read_text())
    (directory / "config.json").write_text(json.dumps(config | {key: value}))
    if key == "attention_bias":  # for which there are no weights
        with pytest.raises(UserError, match="weights are missing"):
            load(directory)
    else:
        assert not isinstance(load(directory), PlainModel)


def test_damaged_weights_are_named(directory):
    weights = load_file(directory / "model.safetensors")
    name = "model.norm.weight"
    save_file({key: value for key, value in weights.items() if key != name}, directory / "model.safetensors")
    with pytest.raises(UserError, match=rf"{directory}: 1 weights are missing .* first {name}"):
        load(directory)


def test_the_tokenizer_is_transformers(directory, tmp_path):
    plain, theirs = read_plain_tokenizer(directory), AutoTokenizer.from_pretrained(directory)
    words = list(theirs.get_vocab())
    texts = [" ".join(words), "1 2 <eos> 3", "+ nothing <bos> 12", ""]
    for options in ({}, {"add_special_tokens": False}, {"return_special_tokens_mask": True}):
        found, expected = plain(texts, **options), theirs(texts, **options)
        assert found == {name: expected[name] for name in found}
        assert ("special_tokens_mask" in found) == ("return_special_tokens_mask" in options)
    rows = plain(texts)["input_ids"]
    for skip in (True, False):
        assert plain.batch_decode(rows, skip_special_tokens=skip) == theirs.batch_decode(rows, skip_special_tokens=skip)
    for word in [*words, "nothing"]:
        assert plain.convert_tokens_to_ids(word) == theirs.convert_tokens_to_ids(word)
    assert [plain.convert_ids_to_tokens(i) for i in range(len(words))] == theirs.convert_ids_to_tokens(
        range(len(words))
    )
    assert plain.encode("1 2") == theirs.encode("1 2")
    for name in ("bos_token_id", "eos_token_id", "pad_token_id", "eos_token", "pad_token", "chat_template"):
        assert getattr(plain, name) == getattr(theirs, name)
    assert set(plain.all_special_ids) == set(theirs.all_special_ids)
    assert set(plain.added_tokens_decoder) == set(theirs.added_tokens_decoder)
    (tmp_path / "saved").mkdir()
    plain.save_pretrained(tmp_path / "saved")
    assert AutoTokenizer.from_pretrained(tmp_path / "saved").get_vocab() == theirs.get_vocab()


def test_a_tokenizer_with_more_to_it_is_left_to_transformers(directory):
    (directory / "chat_template.jinja").write_text("{{ messages[0].content }}")
    assert read_plain_tokenizer(directory) is None
    assert Tokens(directory).tokenizer.chat_template == "{{ messages[0].content }}"


def test_adamw_is_torchs_to_the_bit():
    generator = torch.Generator().manual_seed(0)
    ours, theirs = ([torch.nn.Parameter(torch.full((5, 3), 0.5)), torch.nn.Parameter(torch.ones(2))] for _ in range(2))
    optimizers = (
        AdamW(ours, lr=1e-2, weight_decay=0.1),
        torch.optim.AdamW(theirs, lr=1e-2, weight_decay=0.1, fused=True),
    )
    for step in range(4):
        gradient = torch.randn(5, 3, generator=generator)
        for parameters, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            parameters[0].grad = gradient.clone()
            if step != 1:  # one without a gradient is left alone
                parameters[1].grad = gradient[0, :2].clone()
            optimizer.param_groups[0]["lr"] = 1e-2 / (step + 1)
            optimizer.step()
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other)
        state, expected = optimizers[0].state[one], optimizers[1].state[other]
        assert state.keys() == expected.keys() and all(torch.equal(state[key], expected[key]) for key in state)


HEAVY = (
    "transformers",
    "sympy",
    "sklearn",
    "networkx",
    "torch._dynamo",
    "torch.distributed.tensor",
    "lm_eval",
    "scipy",
)


@pytest.mark.parametrize("stage", ["train", "evaluate"])
def test_what_a_job_of_the_miniature_imports(stage, trained, tmp_path):
    """Seconds of processor time a job, in a study of a hundred jobs: from its start to its end nothing of this is
    imported, but lm-eval where it evaluates."""
    options = ["--method", "grpo", "--seed", "0"] if stage == "train" else []
    options += ["--model", str(trained / "model"), "--problems", str(trained / "problems"), "--out", str(tmp_path)]
    code = f"""
import sys
from prerl import cli
sys.argv = ["prerl", "{stage}", "--scale", "workflow/scales/smoke.yaml", *{options!r}]
try:
    cli.main()
except SystemExit as end:
    assert not end.code, end.code
print("imported:", *sorted(name for name in {HEAVY!r} if name in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    imported = done.stdout.splitlines()[-1].split()[1:]
    assert imported == (["lm_eval"] if stage == "evaluate" else [])
