"""Where problems come from: all that the engines and the analysis ask of a world, whichever it is."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from prerl.errors import UserError
from prerl.files.atomic import read_jsonl
from prerl.problems import countdown
from prerl.problems.corpus import header
from prerl.problems.sets import RL_NUMBERS, read_problems
from prerl.settings.model import ChatProblems, CountdownProblems
from prerl.verify import is_correct

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Problem(Protocol):
    """A problem by its identity, and what is put to the model, as text."""

    @property
    def id(self) -> str: ...

    @property
    def prompt(self) -> str: ...


Own = TypeVar("Own", bound=Problem)


class World(Protocol[Own]):
    """A source of problems of its own kind, and the judge of responses to them."""

    chat: bool  # whether prompts are made by the tokenizer's chat template

    def draw(self, rng: random.Random, size: int) -> list[Own]:
        """`size` training problems from the random stream. Raises UserError if a world has fewer."""
        ...

    def dev(self) -> list[Own]:
        """The problems on which every choice is made."""
        ...

    def score(self, response: str, problem: Own) -> float:
        """1 if the response is right, 0 if it is wrong."""
        ...

    def header(self, ids: list[int], tokenizer: "PreTrainedTokenizerBase") -> int | None:
        """The number of tokens with which a response restates its problem; None in a world where they do not."""


def world(settings: CountdownProblems | ChatProblems, directory: Path) -> World[Any]:
    """The world of a scale whose problem sets were written to the directory."""
    return CountdownWorld(settings, directory) if isinstance(settings, CountdownProblems) else ChatWorld(directory)


class CountdownWorld:
    """Countdown: training problems are drawn from the train split without end."""

    chat = False

    def __init__(self, settings: CountdownProblems, directory: Path) -> None:
        self.largest, self.restates, self.directory = settings.largest_number, settings.restates, directory

    def draw(self, rng: random.Random, size: int) -> list[countdown.Problem]:
        return [countdown.draw(rng, RL_NUMBERS, self.largest, "train") for _ in range(size)]

    def dev(self) -> list[countdown.Problem]:
        return read_problems(self.directory / "dev.jsonl")

    def score(self, response: str, problem: countdown.Problem) -> float:
        return float(countdown.is_correct(response, problem))

    def header(self, ids: list[int], tokenizer: "PreTrainedTokenizerBase") -> int | None:
        if self.restates == "nothing":
            return None
        colon, equals = (tokenizer.convert_tokens_to_ids(word) for word in ":=")
        return header(ids, colon, equals)  # pyright: ignore[reportArgumentType]  (of one token there is one)


@dataclass(frozen=True)
class ChatProblem:
    """A problem in words; the answer is the gold one, or a worked solution that ends with it."""

    id: str
    prompt: str
    answer: str


class ChatWorld:
    """Problems in words, of our own or of public sets: those of training are a file's."""

    chat = True

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.train: list[ChatProblem] = []

    def draw(self, rng: random.Random, size: int) -> list[ChatProblem]:
        self.train = self.train or self._read("train")
        if size > len(self.train):
            raise UserError(f"{self.directory}/train.jsonl: {len(self.train)} problems, but {size} are drawn at once")
        return rng.sample(self.train, size)

    def dev(self) -> list[ChatProblem]:
        return self._read("dev")

    def _read(self, name: str) -> list[ChatProblem]:
        rows = read_jsonl(self.directory / f"{name}.jsonl")
        return [ChatProblem(row["id"], row["prompt"], row["answer"]) for row in rows]

    def score(self, response: str, problem: ChatProblem) -> float:
        return float(is_correct(response, problem.answer))

    def header(self, ids: list[int], tokenizer: "PreTrainedTokenizerBase") -> None:
        """Language models answer without repeating the question."""
