"""Functions that the lm-eval task files in workflow/tasks name: they read the problems and score the responses."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prerl import verify
from prerl.files.atomic import read_jsonl
from prerl.problems.countdown import Problem, answer, is_correct

if TYPE_CHECKING:
    from datasets import Dataset


def rows(data_files: dict[str, str], **_: Any) -> dict[str, "Dataset"]:
    """The rows of problem files by split, read from the files themselves: datasets' own loader keeps a copy, and takes
    a file that was changed within the same modification time for the old one."""
    from datasets import Dataset

    return {split: Dataset.from_list(read_jsonl(Path(file))) for split, file in data_files.items()}


def countdown_scores(doc: dict[str, Any], responses: list[str]) -> list[dict[str, Any]]:
    """What each response to a row of a problem file answers (None: nothing), and its score: 1 if right, 0 if wrong."""
    problem = Problem(tuple(doc["numbers"]), doc["target"])
    return [{"answer": answer(response), "score": float(is_correct(response, problem))} for response in responses]


def chat_scores(doc: dict[str, Any], responses: list[str]) -> list[dict[str, Any]]:
    """What each response to a problem of a public set answers (None: nothing), and its score: 1 if `prerl.verify` finds
    it right, 0 if not. Answers that mean the same are written as the first of them, so that they can be counted."""
    known: list[str] = []
    scored = []
    for response in responses:
        found = verify.answer(response)
        alike = next((other for other in known if found is not None and verify.equivalent(found, other)), found)
        known += [found] if found is not None and alike is found else []
        scored.append({"answer": alike, "score": float(verify.is_correct(response, doc["answer"]))})
    return scored


SCORES = {"countdown": countdown_scores, "arithmetic": chat_scores, "public": chat_scores}  # by world


def chat(doc: dict[str, Any], results: list[list[str]]) -> dict[str, float]:
    """lm-eval's process_results with all responses to a problem: their mean score."""
    scores = [scored["score"] for scored in chat_scores(doc, results[0])]
    return {"avg": sum(scores) / len(scores)}


def countdown(doc: dict[str, Any], results: list[list[str]]) -> dict[str, float]:
    """lm-eval's process_results with all responses to a problem: their mean score."""
    scores = [scored["score"] for scored in countdown_scores(doc, results[0])]
    return {"avg": sum(scores) / len(scores)}
