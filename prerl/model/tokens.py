"""What a model's tokenizer means here: how a prompt is read, what ends a response, what pads a batch.

Models of one family differ in it: a start token that the template writes, or the tokenizer adds, or both; an end token
that the tokenizer names, or the generation settings, or the chat template alone; a padding token or none.
"""

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

from jinja2 import TemplateError

from prerl.errors import UserError, lacking
from prerl.files.atomic import read_json
from prerl.model.plain_tokenizer import read_plain_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Tokenizer: TypeAlias = "PreTrainedTokenizerBase"  # or a PlainTokenizer, as far as it is asked


class Tokens:
    """The tokenizer of a model directory.

    ends  all tokens that end a response, ascending: the tokenizer's end token, those of generation_config.json, and the
          one with which the chat template ends an assistant's turn
    pad   fills what is masked; without a padding token, an end token does
    """

    def __init__(self, path: Path, plain: bool = True) -> None:
        """Not `plain` is always transformers' class, which TRL wants. Raises UserError if there is no tokenizer, or
        nothing ends a response."""
        self.path = path
        try:
            tokenizer = _read(path, plain)
        except (OSError, ValueError) as error:
            if lacking(error):
                raise
            reason = " ".join(str(error).split())
            raise UserError(f"{path}: transformers cannot read its tokenizer: {reason}") from error
        self.tokenizer: Tokenizer = tokenizer
        self.ends = end_tokens(tokenizer, _declared(path))
        if not self.ends:
            raise UserError(f"{path}: no token ends a response; name one as eos_token in its tokenizer_config.json")
        # Other libraries, and whoever loads a trained model, shall find them too.
        if tokenizer.eos_token_id is None:
            tokenizer.eos_token = tokenizer.convert_ids_to_tokens(self.ends[0])
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        self.pad: int = tokenizer.pad_token_id  # pyright: ignore[reportAttributeAccessIssue]  (there is one by now)

    def read(self, prompts: list[str], chat: bool) -> list[list[int]]:
        """Token ids of prompts. Those of a `chat` are whole texts if there is a template: nothing is put in front, for
        the template has written the start token. In front of others stands what the tokenizer adds, but behind them no
        end token."""
        if chat and self.tokenizer.chat_template:
            return self.tokenizer(prompts, add_special_tokens=False)["input_ids"]
        read = self.tokenizer(prompts, return_special_tokens_mask=True)
        return [
            ids[:-1] if added[-1] and len(ids) > 1 and ids[-1] in self.ends else ids
            for ids, added in zip(read["input_ids"], read["special_tokens_mask"], strict=True)
        ]

    def texts(self, responses: list[list[int]]) -> list[str]:
        """The texts of responses (token ids), without the token that ends them, which need not be a special one, and
        without all special tokens."""
        rows = [ids[:-1] if ids and ids[-1] in self.ends else ids for ids in responses]
        return self.tokenizer.batch_decode(rows, skip_special_tokens=True)

    def id_of(self, token: str) -> int:
        """The id of a token that a scale or a method names as start_token. Raises UserError if the tokenizer has none
        of that name."""
        found = self.tokenizer.convert_tokens_to_ids(token)  # an unknown one becomes another, or None
        if not isinstance(found, int) or self.tokenizer.convert_ids_to_tokens(found) != token:
            raise UserError(f"{self.path}: its tokenizer has no token {token!r}; name another as start_token")
        return found


def _read(path: Path, plain: bool) -> "Tokenizer":
    if plain and (found := read_plain_tokenizer(path)):
        return cast(Tokenizer, found)
    from transformers import AutoTokenizer  # takes seconds to import

    return AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)


def end_tokens(tokenizer: "Tokenizer", declared: set[int]) -> list[int]:
    """All tokens that end a response, ascending; `declared` are those of the generation settings. A word of the
    vocabulary that is no token of its own kind does not end anything: a default may name it."""
    own = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    named: int | None = tokenizer.eos_token_id  # pyright: ignore[reportAssignmentType]  (one token's, or none)
    return sorted({named, _end_of_turn(tokenizer), *declared} & own)


def _declared(path: Path) -> set[int]:
    """The end tokens in generation_config.json, if there is one."""
    file = path / "generation_config.json"
    found = read_json(file).get("eos_token_id") if file.is_file() else None
    return set() if found is None else {found} if isinstance(found, int) else set(found)


def _end_of_turn(tokenizer: "Tokenizer") -> int | None:
    """The token that the chat template writes behind what an assistant says."""
    said = "Zqx7"
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": said}]
    if not tokenizer.chat_template:
        return None
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        _, found, behind = str(text).rpartition(said)
    except (TemplateError, ValueError):  # `chat_text` says what is wrong when a prompt is made
        return None
    ids = tokenizer(behind.lstrip(), add_special_tokens=False)["input_ids"] if found else []
    return ids[0] if ids else None
