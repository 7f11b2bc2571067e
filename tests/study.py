"""A made-up study with known accuracies, written as the stages write it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from prerl.analysis.behaviour import load_lexicon
from prerl.analysis.claims import write_claims
from prerl.analysis.elsewhere import write_elsewhere
from prerl.analysis.sensitivity import read_tuning
from prerl.analysis.study import Study
from prerl.analysis.summary import summarize
from prerl.settings.methods import Method, load_methods
from prerl.settings.scale import Tuned, load_scale
from tests.helpers import METHODS_FILE, ROOT, SMOKE_FILE, changed
from tests.tuning import write_tuning

LEXICON = ROOT / "workflow/lexicons/countdown.yaml"
TEXTS = [
    "a yes . answer 1",
    "no . but try b",
    "wait , let me check : no . alternatively , try c but d",
    "<b>&amp;</script>",
    "",
]


def responses(rng, accuracy, names, repeats, **columns):
    """A table of responses as the stages write it."""
    size = len(names) * repeats
    return pd.DataFrame(
        {
            **columns,
            "problem": np.repeat(names, repeats),
            "sample": np.tile(np.arange(repeats), len(names)),
            "response": rng.choice(TEXTS, size),
            "tokens": rng.integers(5, 50, size),
            "entropy": rng.random(size),
            "finished": True,
            "score": (score := (rng.random(size) < accuracy).astype(float)),
            "answer": np.where(score > 0, "right", rng.choice(["wrong", "other"], size)),
        }
    )


# Of methods' updates with GRPO's.
COSINES = {"grpo": 2.0, "psr-rl": 0.5, "nsr-rl": 0.8, "prerl": 0.6, "psr-prerl": 0.2, "nsr-prerl": 0.4}
COSINES |= {"grpo, other prompts": 0.3, "nsr-rl, other prompts": 0.25}


def write_alignment(rng, path, **columns):
    """Comparisons of gradients as the stages write them."""
    keys = pd.MultiIndex.from_product(
        [range(40), ["all", "body"], ["whole", "mlp"]], names=["rollout", "part", "group"]
    ).to_frame(index=False)
    size = len(keys)
    numbers = {"inner_product": rng.normal(1, 1, size), "cosine": rng.uniform(-0.2, 1, size), "tokens": 30}
    numbers["other_prompt"] = rng.uniform(-0.2, 0.6, size)
    keys = keys.assign(problem=(keys.rollout // 8).astype(str), correct=keys.rollout % 3 == 0, **numbers, **columns)
    keys.assign(norm_post_train=1.0, norm_pre_train=2.0).to_parquet(path / "alignment.parquet")
    if columns:
        return
    whole = keys[keys.group == "whole"][["rollout", "problem", "correct", "part"]]
    values = {pair: rng.uniform(-0.3, 0.3, len(whole)) for pair in ("across", "within")}
    whole.assign(**values).to_parquet(path / "noise.parquet")
    names = ("within_post_train", "within_pre_train", "across", "across_halves")
    splits = pd.DataFrame({"part": ["all"] * 35 + ["body"] * 35} | {name: rng.uniform(0, 1, 70) for name in names})
    splits.to_parquet(path / "halves.parquet")
    tokens = pd.DataFrame({"rollout": np.repeat(np.arange(40), 12), "position": np.tile(np.arange(12), 40)})
    tokens = tokens.assign(problem=(tokens.rollout // 8).astype(str), body=tokens.position > 4)
    tokens = tokens.assign(logp_post_train=-rng.random(480), logp_pre_train=-rng.random(480))
    tokens.to_parquet(path / "positions.parquet")
    names = pd.MultiIndex.from_product([range(3), [*COSINES]], names=["batch", "method"]).to_frame(index=False)
    close = names.method.map(COSINES) + rng.uniform(-0.1, 0.1, len(names))
    batches = names.assign(used=8, norm=rng.uniform(1, 2, len(names)), cosine=close.clip(upper=1), header_share=0.5)
    batches.to_parquet(path / "updates.parquet")


ACCURACIES = {"grpo": [0.3, 0.4, 0.5, 0.6, 0.7], "nsr-prerl": [0.3, 0.35, 0.0], "dsrl": [0.3, 0.3, 0.4, 0.5, 0.6]}


def tried(name: str, tuned: Tuned, seed: int) -> list[float]:
    """Dev accuracies of a run of the tuning: the method's own learning rate is the best."""
    return [0.3, 0.3, 0.3, 0.3, 0.5 if tuned.learning_rate_factor == 1 else 0.4]


def write_study(
    results: Path, methods: dict[str, Method], curve: dict[str, list[float]] = ACCURACIES, seeds: int = 2
) -> None:
    """Methods with these accuracies on dev: GRPO learns, NSR-PreRL collapses and stops, DSRL learns later."""
    rng = np.random.default_rng(0)
    known = {"benchmark": "countdown", "method": "grpo", "before": 15.2, "after": 47.4, "updates": 50}
    published = [known | {"source": "elsewhere", "setting": "on one GPU"}]
    scale = changed(load_scale(SMOKE_FILE), seeds=list(range(seeds)), published=published)
    names = [f"p{index}" for index in range(20)]
    benchmarks = scale.evaluation.benchmarks

    versions = dict.fromkeys(("python", "torch", "transformers", "lm-eval"), "1.0")
    about = {"versions": versions, "hardware": {"machine": "abacus", "cpus": 2}, "commit": "0123456789abcdef"}

    def write_run(path, accuracy):
        path.mkdir(parents=True)
        tables = [responses(rng, accuracy, names, n, benchmark=name) for name, n in benchmarks.items()]
        pd.concat(tables, ignore_index=True).to_parquet(path / "samples.parquet")
        (path / "evaluate.json").write_text(json.dumps({"wall_seconds": 1.0, "peak_memory_bytes": 10, **about}))

    (results / "problems").mkdir(parents=True)
    for name in ("dev", *benchmarks):
        rows = [json.dumps({"id": problem, "prompt": f"Q {problem} of {name} A"}) + "\n" for problem in names]
        (results / f"problems/{name}.jsonl").write_text("".join(rows))
    for seed in scale.base_seeds:
        base = results / f"base/seed{seed}"
        write_run(base, 0.3)
        cost = {"wall_seconds": 2.0, "peak_memory_bytes": 30, "tokens": 50}
        (base / "run.json").write_text(json.dumps({"parameters": 1000, **about, **cost}))
        write_alignment(rng, base)
        (base / "model").mkdir()
        (base / "model/model.safetensors").write_text(f"weights {seed}")
    for method, accuracies in curve.items():
        for seed in scale.seeds:
            path = results / method / f"seed{seed}"
            write_run(path, max(accuracies))
            steps = [responses(rng, a, names, 4, step=5 * index) for index, a in enumerate(accuracies)]
            pd.concat(steps, ignore_index=True).to_parquet(path / "dev.parquet")
            if method != "nsr-prerl":
                write_alignment(rng, path, step=20)
            record = {
                "config": {"phases": [phase.model_dump() for phase in methods[method].phases], "functions": {}},
                "selected_step": 5,
                "updates": 5 * (len(accuracies) - 1),
                "skipped_updates": 2,
                "stopped_without_signal": method == "nsr-prerl",
                "stop_reason": "no signal" if method == "nsr-prerl" else None,
                "wall_seconds": 3.0,
                "tokens": 100,
                "peak_memory_bytes": 20,
            }
            (path / "run.json").write_text(json.dumps(record | about))
            log = pd.DataFrame({"step": range(1, record["updates"] + 1), "tokens": 10})
            log.assign(reward=rng.random(len(log)), grad_norm=rng.random(len(log))).to_parquet(path / "log.parquet")
    summarize(scale, {name: methods[name] for name in curve}, load_lexicon(LEXICON), results, results / "summary")
    unread = {"unreadable": 1, "unreadable_problems": "a-3"}
    overlap = [  # as of public sets
        {"set": "train", "training": 90, "problems": 90, **unread},
        {"set": "dev", "training": 90, "problems": 20, "same": 1, "half": 3, "shared": 2, **unread},
    ]
    pd.DataFrame(overlap).to_parquet(results / "summary/overlap.parquet")
    named = load_methods(METHODS_FILE)
    few = {name: named[name] for name in curve}
    write_tuning(results / "sensitivity", scale.tuning, few, tried)
    read_tuning(scale, scale.tuning, few, results / "sensitivity").to_parquet(results / "summary/sensitivity.parquet")
    write_claims(Study(results / "summary", methods), ROOT / "paper/reported.yaml", results / "claims.csv")
    write_other_size(results)
    write_elsewhere(results.parent / "committed", results.name, results / "claims_elsewhere.csv")


def write_other_size(results: Path) -> None:
    """The same claims as if they were committed for another scale, without the first and with other numbers."""
    tables = results.parent / "committed/larger/tables"
    tables.mkdir(parents=True, exist_ok=True)
    claims, parts = (pd.read_csv(results / f"{name}.csv") for name in ("claims", "claim_parts"))
    kept = parts[parts.id != parts.id.iloc[0]].assign(estimate=0.5, low=0.25, high=0.75)
    claims.assign(verdict="inconclusive").to_csv(tables / "claims.csv", index=False)
    kept.to_csv(tables / "claim_parts.csv", index=False)


def few_resamples():
    """The smoke scale with so few resamples that its intervals say nothing."""
    scale = load_scale(SMOKE_FILE)
    return changed(scale, analysis=changed(scale.analysis, bootstrap=40))


def read(study, name):
    return pd.read_parquet(study / f"summary/{name}.parquet")
