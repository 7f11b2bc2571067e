"""The leaderboard of entries: comparisons that others contributed, as a page shows them."""

from pathlib import Path
from typing import Any

from prerl.analysis.entries import Entry, comparable


def board(directory: Path, scale: str, record: Path) -> dict[str, Any] | None:
    """The entries of a scale, None if there are none: `columns` and `rows` of text, those that were compared with the
    baselines whose record this is, the best first; and `others`, the names of the rest. Raises UserError if one is
    malformed."""
    entries, others = comparable(directory, scale, record)
    if not entries and not others:
        return None
    lines = [line(entry) for entry in entries]
    columns = list(lines[0]) if lines else []
    return {"columns": columns, "rows": [list(one.values()) for one in lines], "others": others}


def line(entry: Entry) -> dict[str, str]:
    """A row of the leaderboard: cells by their columns' heads; differences in points, with the interval that allows for
    the variants."""
    found = entry.comparison
    sure = f"{100 * found.estimate:+.1f} [{100 * found.sure_low:+.1f}, {100 * found.sure_high:+.1f}]"
    return {
        "Method": entry.label,
        "Author": entry.author or "–",
        "Date": entry.date.isoformat(),
        "Replicates": str(len(entry.seeds)),
        "Variants tried": str(entry.variants),
        "Accuracy": f"{found.accuracy:.3f}",
        "Against GRPO (points)": sure,
        "Level": f"{100 * found.level:.2f} %",
        "Verdict": found.verdict,
        "Found with 80 %": f"{100 * found.detectable:.1f}",
    }
