"""What the READMEs say: README's table is the committed results', it is short, and what links point at is there."""

import re
import subprocess

import pandas as pd
import pytest

from prerl.errors import UserError
from prerl.report.found import BEGIN, END, found, put_found
from tests.helpers import ROOT

README = ROOT / "README.md"


def texts():
    """The Markdown files that are committed, or about to be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def test_readme_says_what_was_found():
    printed = README.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    assert printed == found(ROOT / "results/baselines/tiny/tables", ROOT / "results/baselines/tiny-ablations"), (
        "prerl found"
    )
    assert len(printed.splitlines()) <= 2 + 15


def test_readme_is_short():
    assert len(README.read_text(encoding="utf-8")) < 6000


def write_claims(directory, claims, parts):
    directory.mkdir()
    pd.DataFrame(claims).to_csv(directory / "claims.csv")
    pd.DataFrame(parts).to_csv(directory / "claim_parts.csv")
    return directory


@pytest.fixture
def results(tmp_path):
    """Of the main study one claim that fails by another effect than the one of which a size was reported, and one that
    takes the ablations; and these."""
    claim = {"id": "c", "text": "A|B is better (by far)", "subject": "Share of A", "verdict": "not reproduced"}
    longer = {"id": "d", "text": "Longer is better", "subject": "A", "verdict": "not tested at this scale"}
    part = {"id": "c", "unit": "points", "estimate": 1.0, "low": 0.0, "high": 2.0, "reported": None}
    parts = [
        part | {"part": "A less C", "finding": "holds", "reported": 7.0},
        part | {"part": "A less B", "finding": "refuted", "estimate": -1.0, "low": -2.0, "high": -0.5},
        part | {"part": "A less D", "finding": "refuted"},
    ]
    others = [claim | {"verdict": "equivalent"}, longer | {"verdict": "inconclusive"}]
    other = part | {"id": "d", "part": "A, longer", "finding": "open"}
    main = write_claims(tmp_path / "tables", [claim, longer], parts)
    return main, write_claims(tmp_path / "ablations", others, [part | {"part": "not this"}, other])


def test_a_row_has_what_decides_and_what_was_reported(results):
    first, second = found(*results).splitlines()[2:]
    said = "A less B: -1.0 [-2.0, -0.5] points; A less C: +1.0 [+0.0, +2.0] points"
    assert first == rf"| A\|B is better | +7.0 points | {said} | not reproduced |"
    assert second == "| Longer is better | – | A, longer: +1.0 [+0.0, +2.0] points | inconclusive |"


def test_the_table_takes_the_place_of_the_old_one(results, tmp_path):
    file = tmp_path / "README.md"
    file.write_text(f"before\n{BEGIN}old\n{END}\nafter\n")
    put_found(file, "new\n")
    assert file.read_text() == f"before\n{BEGIN}new\n{END}\nafter\n"
    file.write_text("nothing")
    with pytest.raises(UserError, match="between which the table stands"):
        put_found(file, "new\n")
    with pytest.raises(UserError, match=r"claims\.csv: not there"):
        found(tmp_path / "none", results[1])


def test_links_lead_somewhere():
    broken = []
    for file in texts():
        text = re.sub(r"```.+?```", "", file.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            path, _, heading = target.partition("#")
            if ":" in target:
                continue
            there = (file.parent / path).resolve() if path else file
            if not there.exists() or (heading and heading not in headings(there)):
                broken.append(f"{file.relative_to(ROOT)}: {target}")
    assert not broken, "\n".join(broken)


def headings(file):
    """Anchors as GitHub makes them."""
    lines = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}
