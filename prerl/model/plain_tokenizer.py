"""The miniature's own kind of tokenizer without transformers: what is asked of one, by the same names."""

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

NAMED = ("bos_token", "eos_token", "pad_token", "unk_token")
# Keys of tokenizer_config.json that change nothing here, or only have this value.
FIXED = {"backend": "tokenizers", "tokenizer_class": "TokenizersBackend", "clean_up_tokenization_spaces": False}
FREE = ("model_max_length",)
FILES = ("tokenizer.json", "tokenizer_config.json")


class PlainTokenizer:
    """Reads and writes texts as transformers' class for a tokenizer.json would, where nothing is set beside it: no chat
    template, no added tokens but the special ones."""

    chat_template = None

    def __init__(self, path: Path, config: dict[str, Any], files: dict[str, bytes]) -> None:
        self.name_or_path, self.files = str(path), files
        self.inner = Tokenizer.from_str(files["tokenizer.json"].decode())
        names = [config[name] for name in NAMED]
        self.inner.add_special_tokens(sorted(set(names)))  # of the vocabulary already
        ids = [self._id(name) for name in names]
        self.bos_token_id, self.eos_token_id, self.pad_token_id, self.unk_token_id = ids
        self.eos_token, self.pad_token = config["eos_token"], config["pad_token"]
        self.all_special_ids = sorted(set(ids))
        self.added_tokens_decoder = self.inner.get_added_tokens_decoder()

    def _id(self, name: str) -> int:
        found = self.inner.token_to_id(name)
        assert found is not None  # it has just been added if it was not there
        return found

    def __call__(
        self, texts: list[str], add_special_tokens: bool = True, return_special_tokens_mask: bool = False
    ) -> dict[str, list[list[int]]]:
        found = self.inner.encode_batch(texts, add_special_tokens=add_special_tokens)
        read = {"input_ids": [one.ids for one in found]}
        if return_special_tokens_mask:
            read["special_tokens_mask"] = [one.special_tokens_mask for one in found]
        return read

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return self.inner.encode(text, add_special_tokens=add_special_tokens).ids

    def batch_decode(self, rows: list[list[int]], skip_special_tokens: bool = False) -> list[str]:
        return self.inner.decode_batch(rows, skip_special_tokens=skip_special_tokens)

    def convert_tokens_to_ids(self, token: str) -> int:
        found = self.inner.token_to_id(token)
        return self.unk_token_id if found is None else found

    def convert_ids_to_tokens(self, token_id: int) -> str | None:
        return self.inner.id_to_token(token_id)

    def save_pretrained(self, path: Path) -> None:
        for name, content in self.files.items():
            (path / name).write_bytes(content)


def read_plain_tokenizer(path: Path) -> PlainTokenizer | None:
    """None if anything is not as `PlainTokenizer` has it, or not whole: transformers then reads it, or says what is
    wrong."""
    try:
        files = {name: (path / name).read_bytes() for name in FILES}
        config = json.loads(files["tokenizer_config.json"])
    except (OSError, ValueError):
        return None
    others = ("chat_template.jinja", "chat_template.json", "special_tokens_map.json", "added_tokens.json")
    if not isinstance(config, dict) or set(config) != {*NAMED, *FIXED, *FREE}:
        return None
    if any(config[name] != value for name, value in FIXED.items()) or any((path / name).exists() for name in others):
        return None
    if not all(isinstance(config[name], str) for name in NAMED):
        return None
    try:
        tokenizer = PlainTokenizer(path, config, files)
    except Exception:  # which is all that the package tokenizers raises
        return None
    return tokenizer if set(tokenizer.added_tokens_decoder) <= set(tokenizer.all_special_ids) else None
