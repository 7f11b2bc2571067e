"""Measurements side by side: the local engine against TRL's trainer, its sampler against others, growth with size."""

import json
import statistics
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from prerl.bench.measure import MARK
from prerl.errors import UserError
from prerl.files.atomic import write_text
from prerl.files.record import RunRecord
from prerl.settings.scale import Scale

NAMES = {
    "local_step": "RL step, local engine",
    "trl_step": "RL step, TRL's GRPOTrainer as it comes",
    "local_sampling": "Sampling, local engine",
    "transformers_sampling": "Sampling, transformers' generate",
    "vllm_sampling": "Sampling, vLLM",
}
RATIOS = [("local_step", "trl_step"), ("local_sampling", "transformers_sampling"), ("local_sampling", "vllm_sampling")]
TINY = {
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "intermediate_size": 256,
}
SIZES = {  # of SmolLM2-135M the last
    "0.6M": TINY,
    "6M": TINY | {"hidden_size": 256, "num_hidden_layers": 8, "num_attention_heads": 8, "intermediate_size": 768},
    "30M": TINY | {"hidden_size": 512, "num_hidden_layers": 10, "num_attention_heads": 16, "intermediate_size": 1536},
    "135M": TINY
    | {"hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "head_dim": 64}
    | {"intermediate_size": 1536},
}
WORDS = {"135M": 49152}  # of the others 126, as in the miniature
AXES = {
    "batch": [{"batch": batch, "length": 64} for batch in (32, 128, 512, 2048)],
    "length": [{"batch": 64, "length": length} for length in (32, 128, 512, 2048)],
    "size": [{"size": size, "batch": 32, "length": 32} for size in SIZES],
}


def bench(scale_file: Path, scale: Scale, results: Path, sizes: dict[str, int], out: Path) -> str:
    """Writes out/bench.json (every repetition), out/bench.md and returns what is printed. `results` holds the base
    model and the problem sets; `sizes` are prompts, group and length of a batch."""
    work = {
        "scale": str(scale_file),
        "model": str(results / "base/seed0/model"),
        "problems": str(results / "problems"),
    } | sizes
    if not (results / "base/seed0/model/model.safetensors").is_file():
        target = f"{results}/base/seed0/run.json"
        raise UserError(f"{results}/base/seed0/model: no base model; run `snakemake --cores all {target}`")
    record = RunRecord("bench", {"threads": scale.threads, **sizes})
    names = [name for name in NAMES if name != "vllm_sampling" or find_spec("vllm")]
    names = [name for name in names if name != "trl_step" or find_spec("trl")]
    found = {"peak": measured("peak", threads=scale.threads)}
    for name in [*names, "where"]:
        found[name] = measured(name, **work)
    record.write(out / "bench.json", measures=found)
    text = printed(found, scale.threads, sizes)
    write_text(out / "bench.md", text)
    return text


def measured(name: str, **settings: Any) -> dict[str, Any]:
    """What a measurement finds, in a process of its own."""
    print(f"bench: {name} {' '.join(str(v) for v in settings.values())}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "prerl.bench.measure", name, json.dumps(settings)]
    done = subprocess.run(command, capture_output=True, text=True)
    found = [line.removeprefix(MARK) for line in done.stdout.splitlines() if line.startswith(MARK)]
    if done.returncode or not found:
        raise UserError(f"bench: {name} failed: {(done.stderr.strip() or 'killed').splitlines()[-1]}")
    return json.loads(found[-1])


def printed(found: dict[str, Any], threads: int, sizes: dict[str, int]) -> str:
    """Markdown: tokens a second with their range, ratios, shares of the peak, where the time goes."""
    pace = {name: one["tokens_per_second"] for name, one in found.items() if "tokens_per_second" in one}
    rows = [
        {
            "Measured": NAMES[name],
            "Tokens/s, median of 5": f"{statistics.median(values):,.0f}",
            "Range": f"{min(values):,.0f} to {max(values):,.0f}",
            # vLLM's model is in a process of its own
            "Peak memory (MB)": "–" if name == "vllm_sampling" else f"{found[name]['peak_memory_bytes'] / 1e6:,.0f}",
        }
        for name, values in pace.items()
    ]
    ratios = [
        f"- {NAMES[first]} against {NAMES[second].split(', ')[1]}: "
        f"**{statistics.median(pace[first]) / statistics.median(pace[second]):.1f} times** the tokens a second"
        for first, second in RATIOS
        if {first, second} <= set(pace)
    ]
    step, most = found["local_step"], statistics.median(found["peak"]["flops"])
    shares = {
        "sampling": step["tokens"] * step["flops_per_token"] / step["generate_seconds"] / most,
        "update": 3 * step["tokens"] * step["flops_per_token"] / step["update_seconds"] / most,
    }
    lines = [f"- {name} reaches {share:.0%} of it" for name, share in shares.items()]
    where = [f"- `{name}` {share:.0%}" for name, share in found["where"]["operations"].items()]
    batch = f"{sizes['prompts']} prompts of {sizes['group']} responses up to {sizes['length']} tokens"
    return "\n".join(
        [
            f"{batch}, {threads} thread{'s' if threads > 1 else ''}, float32; one process a row, a warm-up and five "
            "repetitions.\n",
            pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True),
            "",
            *ratios,
            f"\nA matrix product reaches {most / 1e9:.0f} GFLOP/s here. Within an RL step, prompts and attention "
            "not counted,\n",
            *lines,
            "\nWhere an RL step's time goes:\n",
            *where,
            "",
        ]
    )


def grow(threads: int, out: Path) -> pd.DataFrame:
    """Writes out/growth.csv: axis, batch, length, size; tokens a second of sampling and update, peak_memory_bytes."""
    rows = []
    for axis, points in AXES.items():
        for point in points:
            size = point.get("size", "0.6M")
            settings = {"architecture": SIZES[size], "vocabulary": WORDS.get(size, 126), "threads": threads}
            found = measured("growth", **settings, batch=point["batch"], length=point["length"])
            rows.append({"axis": axis, "size": size, **point, **found})
    table = pd.DataFrame(rows)
    write_text(out / "growth.csv", table.to_csv(index=False))
    return table


def draw_growth(table: pd.DataFrame, out: Path) -> None:
    """Writes out/growth.svg and .png."""
    import matplotlib
    import matplotlib.pyplot as plt

    from prerl.report.figures.style import STYLE, WIDTH
    from prerl.report.figures.write import save

    labels = {"batch": "responses at once", "length": "tokens a response", "size": "parameters"}
    paces = ("sampling", "#0072B2", "o"), ("update", "#D55E00", "s")
    style: dict[Any, Any] = dict(STYLE)
    with matplotlib.rc_context(style):
        drawn, axes = plt.subplots(2, 3, figsize=(WIDTH, 3.6), sharex="col", sharey="row", squeeze=False)
        for column, (axis, label) in enumerate(labels.items()):
            rows = table[table.axis == axis]
            x = rows[axis] if axis != "size" else rows.parameters
            for name, color, marker in paces:
                axes[0, column].plot(x, rows[f"{name}_tokens_per_second"], color=color, marker=marker, label=name)
            axes[1, column].plot(x, rows.peak_memory_bytes / 1e6, color="#333333", marker="D")
            axes[1, column].set(xscale="log", xlabel=label)
            axes[1, column].set_xticks(x, [f"{at:,}" if axis != "size" else at for at in rows[axis]])
            axes[1, column].minorticks_off()
        for row, label in zip(axes, ("tokens a second", "peak memory (MB)"), strict=True):
            row[0].set(yscale="log", ylabel=label)
            row[0].yaxis.set_major_formatter("{x:,.0f}")
        axes[1, 0].set_ylim(bottom=100)
        axes[0, 0].legend()
        for kind in ("svg", "png"):
            save(drawn, out / f"growth.{kind}", kind, {"Date": None} if kind == "svg" else None)
        plt.close(drawn)
