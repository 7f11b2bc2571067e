"""What the claims gave at other scales, as it is committed beside their baselines."""

from pathlib import Path

import pandas as pd

from prerl.files.atomic import write_text

COLUMNS = ["scale", "id", "part", "unit", "side", "estimate", "low", "high", "finding", "verdict"]


def write_elsewhere(baselines: Path, own: str, out: Path) -> None:
    """Writes a CSV with a row a part of a claim that was tested at another scale than `own`: scale, id, part and the
    rest as in claim_parts.csv, and the claim's verdict. `baselines` holds a directory a scale, and in it, where it was
    kept, tables/claims.csv and tables/claim_parts.csv."""
    found = [pd.DataFrame(columns=COLUMNS)]
    for path in sorted(baselines.glob("*/tables/claim_parts.csv")):
        scale = path.parents[1].name
        if scale != own:
            verdicts = pd.read_csv(path.with_name("claims.csv")).set_index("id").verdict
            parts = pd.read_csv(path)
            found.append(parts.assign(scale=scale, verdict=parts.id.map(verdicts))[COLUMNS])
    kept = [one for one in found if len(one)] or found
    write_text(out, pd.concat(kept, ignore_index=True).to_csv(index=False))
