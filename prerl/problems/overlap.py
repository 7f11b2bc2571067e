"""Decontamination: which evaluation problems share long word sequences with training problems; and whose gold answers
cannot be read."""

import re
from pathlib import Path
from typing import Any

from prerl.files.atomic import read_jsonl
from prerl.verify import readable

SHORT, LONG = 8, 13  # words: 13 as in GPT-3's report (arXiv 2005.14165); math problems are short, so 8 too


def ngrams(text: str, length: int) -> set[tuple[str, ...]]:
    """The sequences of `length` words and numbers, case and punctuation ignored; of a shorter text the whole one."""
    words = _words(text)
    return {words[start : start + length] for start in range(max(1, len(words) - length + 1))}


def overlap(training: list[str], evaluation: list[str]) -> dict[str, int]:
    """How many of the evaluation questions (`problems`) resemble a training question. Counts:

    same    the same words
    half    at least half of its sequences of 8 words stand in training questions
    shared  a sequence of 13 words does; set phrases such as "where m and n are relatively prime positive integers" do
    """

    def seen(length: int) -> set[tuple[str, ...]]:
        return set().union(*(ngrams(text, length) for text in training))

    whole, short, long = {_words(text) for text in training}, seen(SHORT), seen(LONG)
    parts = [ngrams(text, SHORT) for text in evaluation]
    return {
        "problems": len(evaluation),
        "same": sum(_words(text) in whole for text in evaluation),
        "half": sum(len(found & short) >= len(found) / 2 for found in parts),
        "shared": sum(not long.isdisjoint(ngrams(text, LONG)) for text in evaluation),
    }


def overlaps(problems: Path, names: list[str]) -> list[dict[str, Any]]:
    """A row a set of a directory of problem sets: `overlap` of its questions with those of train.jsonl, how many of its
    gold answers no spelling but their own can match (`unreadable`), and the ids of these problems; likewise for
    train.jsonl, whose row has no overlap."""
    sets = {name: read_jsonl(problems / f"{name}.jsonl") for name in ("train", *names)}
    questions = {name: [row["question"] for row in rows] for name, rows in sets.items()}
    found = []
    for name, rows in sets.items():
        counts = {"problems": len(rows)} if name == "train" else overlap(questions["train"], questions[name])
        unread = [row["id"] for row in rows if not readable(row["answer"])]
        ids = {"unreadable": len(unread), "unreadable_problems": " ".join(unread)}
        found.append({"set": name, "training": len(sets["train"]), **counts, **ids})
    return found


def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[a-z]+|\d+", text.lower()))
