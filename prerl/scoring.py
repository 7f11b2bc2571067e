"""Scoring functions that the lm-eval task files in workflow/benchmarks name."""

from typing import Any

from prerl.problems.countdown import Problem, is_correct


def countdown_scores(doc: dict[str, Any], responses: list[str]) -> list[float]:
    """1 for each right response to a row of a problem file, 0 for each wrong one."""
    problem = Problem(tuple(doc["numbers"]), doc["target"])
    return [float(is_correct(response, problem)) for response in responses]


def countdown(doc: dict[str, Any], results: list[list[str]]) -> dict[str, float]:
    """lm-eval's process_results with all responses to a problem: their mean score."""
    scores = countdown_scores(doc, results[0])
    return {"avg": sum(scores) / len(scores)}
