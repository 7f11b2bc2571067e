"""What the page is made of, without opening it."""

import re
import shutil

import pandas as pd
import pytest

from prerl.analysis.behaviour import load_lexicon
from prerl.analysis.elsewhere import COLUMNS
from prerl.errors import UserError
from prerl.files.atomic import read_json
from prerl.report.page import bar, write_page
from tests.helpers import ROOT
from tests.study import LEXICON

TEMPLATE = ROOT / "workflow/page/index.html"


def test_bars_put_numbers_in_order_along_a_line():
    part = {"unit": "points", "side": "above", "margin": 0, "low": -1.0, "estimate": 2.0, "high": 4.0, "reported": 6.0}
    found = bar(part)
    [margin] = found["margins"]
    assert 0 < found["low"] < margin < found["estimate"] < found["high"] < found["reported"] < 100
    assert (found["from"], found["to"]) == (margin, 100)
    assert "reported" not in bar(part | {"reported": float("nan")})
    ratio = bar({"unit": "ratio", "side": "below", "margin": 1, "low": 0, "estimate": 2, "high": 4, "reported": 0.25})
    middle = (ratio["reported"] + ratio["high"]) / 2  # a quarter and four lie alike far from one
    assert ratio["margins"] == [pytest.approx(middle, abs=0.02)] and ratio["low"] == 0
    assert [ratio["from"], ratio["to"]] == [0, *ratio["margins"]]
    within = bar(part | {"side": "within", "margin": 3})
    assert [within["from"], within["to"]] == within["margins"] and within["from"] < within["low"] < within["to"]
    beside = bar(part | {"side": "beside", "margin": float("nan")})
    assert beside["margins"] == [] and "from" not in beside


def test_a_missing_figure_or_a_broken_template_is_a_users_error(printed, methods, tmp_path):
    lexicon, out = load_lexicon(LEXICON), tmp_path / "index.html"
    (tmp_path / "broken.html").write_text("{% if %}")
    with pytest.raises(UserError, match=r"broken\.html"):
        write_page(printed, printed / "summary", methods, lexicon, tmp_path / "broken.html", out)
    shutil.copytree(printed, tmp_path / "made-up")
    (tmp_path / "made-up/figures/claims.svg").unlink()
    with pytest.raises(UserError, match=r"claims\.svg: cannot be read"):
        write_page(tmp_path / "made-up", tmp_path / "made-up/summary", methods, lexicon, TEMPLATE, out)
    assert not out.exists()


def test_tables_of_the_committed_baselines_are_shown_and_marked(printed, methods, tmp_path):
    lexicon, further, table = load_lexicon(LEXICON), tmp_path / "tables", read_json(printed / "tables/accuracy.json")
    further.mkdir()
    (further / "accuracy.json").write_text((printed / "tables/accuracy.json").read_text().replace("DSRL", "CISPO"))
    pages = []
    for given in (further, None):
        write_page(printed, printed / "summary", methods, lexicon, TEMPLATE, tmp_path / "index.html", given)
        pages.append((tmp_path / "index.html").read_text())
    shown = re.search(r'<section id="baselines">(.+?)</section>', pages[0], re.DOTALL)[1]
    assert "as they are committed" in shown and shown.count("<td") == len(table["rows"]) * len(table["columns"])
    assert "CISPO" in shown and "CISPO" not in pages[1] and 'id="baselines"' not in pages[1]


def test_entries_are_shown_as_text_and_without_one_there_is_no_table(printed, methods, tmp_path):
    lexicon, pages = load_lexicon(LEXICON), []
    one = {"columns": ["Method", "Author"], "rows": [["<b>Bold</b>", "A"]], "others": []}
    for entries in (one, {"columns": [], "rows": [], "others": ["stale", "older"]}, None):
        out = tmp_path / "index.html"
        write_page(printed, printed / "summary", methods, lexicon, TEMPLATE, out, entries=entries)
        pages.append(out.read_text())
    shown = [re.search(r'<section id="entries">(.+?)</section>', page, re.DOTALL) for page in pages]
    assert (
        "&lt;b&gt;Bold&lt;/b&gt;" in shown[0][1] and "<b>Bold" not in pages[0] and "Not comparable" not in shown[0][1]
    )
    assert "baselines than those of this checkout: stale, older." in shown[1][1] and "<table" not in shown[1][1]
    assert shown[2] is None and "#entries" not in pages[2]


def test_a_claim_shows_what_it_gave_at_other_scales(printed, methods, tmp_path):
    shutil.copytree(printed, tmp_path / "made-up")
    parts = pd.read_csv(printed / "claim_parts.csv").assign(scale="larger", verdict="equivalent", estimate=0.75)
    kept = parts[parts.id == "dsrl-beats-grpo"][COLUMNS]
    kept.to_csv(tmp_path / "made-up/claims_elsewhere.csv", index=False)
    write_page(
        tmp_path / "made-up",
        tmp_path / "made-up/summary",
        methods,
        load_lexicon(LEXICON),
        TEMPLATE,
        tmp_path / "a.html",
    )
    page = (tmp_path / "a.html").read_text()
    card = re.search(r'<article [^>]*id="claim-dsrl-beats-grpo">(.+?)</article>', page, re.DOTALL)[1]
    assert "At larger: <b>equivalent</b>" in card and "at larger +0.8 [" in card and page.count("At larger") == 1
