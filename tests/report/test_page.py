"""The page, opened in a headless browser as a reader opens it: from disk."""

import json
import re

import pandas as pd
import pytest

from prerl.analysis.behaviour import load_lexicon
from prerl.analysis.verdicts import amount
from prerl.report.page import ENLARGED, write_page
from prerl.report.samples import _set
from tests.helpers import ROOT
from tests.study import LEXICON

TEMPLATE = ROOT / "workflow/page/index.html"


@pytest.fixture(scope="module")
def page(printed, methods):
    """The page of the made-up study, and nothing beside it."""
    out = printed.parent.parent / "elsewhere" / "index.html"
    write_page(printed, printed / "summary", methods, load_lexicon(LEXICON), TEMPLATE, out)
    return out


@pytest.fixture
def opened(chromium, page):
    """A tab with the page, in which an error on the console or a request for anything else fails the test."""
    context = chromium.new_context()
    tab, complaints = context.new_page(), []
    tab.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
    tab.on("pageerror", lambda error: complaints.append(f"error: {error}"))
    tab.on("request", lambda request: request.url.split("#")[0] == page.as_uri() or complaints.append(request.url))

    def visit(fragment=""):
        tab.goto("about:blank")
        tab.goto(page.as_uri() + fragment)
        tab.wait_for_selector("body[data-ready]")
        return tab

    yield visit
    context.close()
    assert not complaints


def listed(tab):
    return tab.locator("#list .name").all_inner_texts()


def responses(results, run, table="samples", **where):
    rows = pd.read_parquet(results / run / f"{table}.parquet")
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return rows


def test_the_page_is_one_file_without_references_to_others(page):
    text = page.read_text()
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", text) and "default-src 'none'" in text
    assert page.stat().st_size < 8_000_000
    assert not re.search(r"<script>(?!\n\"use strict\")", text)  # what a model wrote is no part of the page's code


def test_the_same_results_give_the_same_bytes(page, printed, methods, tmp_path):
    write_page(printed, printed / "summary", methods, load_lexicon(LEXICON), TEMPLATE, tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == page.read_bytes()


def test_ids_are_unique_and_every_drawing_has_a_caption(page, printed):
    text = re.sub(r"<script.*?</script>", "", page.read_text(), flags=re.DOTALL)
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert {name.removeprefix("#") for name in re.findall(r'href="(#[^"]+)"', text)} <= set(ids)
    captions = json.loads((printed / "figures/captions.json").read_text())
    assert text.count(' aria-labelledby="caption-') == text.count("<figcaption ") == len(captions)
    curves = re.findall(r'<svg class="curve"[^>]*aria-label="([^"]+)"', text)
    assert text.count("<svg ") == len(captions) + len(curves) and len(curves) == text.count('<article id="method-')
    assert all(label.startswith("Dev accuracy along training, from ") for label in curves) and curves


def test_claims_and_tables_say_what_the_files_say(opened, printed):
    tab = opened()
    claims = pd.read_csv(printed / "claims.csv")
    assert tab.locator("#claims article").count() == len(claims)
    for row in claims.itertuples():
        assert tab.locator(f"#claim-{row.id} .verdict").inner_text() == row.verdict
    parts = pd.read_csv(printed / "claim_parts.csv")
    assert tab.locator("#claims .bar").count() == len(parts)
    for row in parts.itertuples():
        shown = amount(row.unit, row.estimate, row.low, row.high)
        assert f"{row.part}: {shown}" in tab.locator(f"#claim-{row.id}").inner_text()
    for verdict, number in claims.verdict.value_counts().items():
        assert tab.locator(f".tally .{verdict.replace(' ', '-')}").inner_text() == f"{number} {verdict}"
    table = json.loads((printed / "tables/accuracy.json").read_text())
    assert tab.locator("#table-accuracy tbody td").all_inner_texts() == [cell for row in table["rows"] for cell in row]


def test_a_table_is_sorted_by_numbers_down_and_up(opened, printed):
    tab = opened()
    head = tab.locator("#table-accuracy th").nth(2)
    order = []
    for direction in ("ascending", "descending"):
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == direction
        order.append(
            [float(text.split()[0]) for text in tab.locator("#table-accuracy td:nth-child(3)").all_inner_texts()]
        )
    assert order[0] == sorted(order[0]) and order[1] == order[0][::-1] and len(set(order[0])) > 2


def test_two_methods_side_by_side_on_one_problem(opened, printed):
    tab = opened()
    tab.select_option("[name=left]", "dsrl")
    tab.select_option("[name=right]", "grpo")
    tab.select_option("[name=seed]", "1")
    tab.locator("#list button", has_text="p3").first.click()
    for place, method in enumerate(("dsrl", "grpo")):
        column = tab.locator(".sides > div").nth(place)
        rows = responses(printed, f"{method}/seed1", benchmark="countdown", problem="p3").sort_values("sample")
        assert f"update 5, chosen on dev: {int(rows.score.sum())} of 4 right" in column.locator("h4").inner_text()
        assert [text.replace("\n", "") for text in column.locator("pre").all_text_contents()] == rows.response.tolist()
        verdicts = ["right" if score else "wrong" for score in rows.score]
        assert column.locator(".sample p b").all_inner_texts() == verdicts
    assert "left and right" in tab.locator("#shown").inner_text()


@pytest.mark.parametrize(("verdict", "score"), [("1", 1.0), ("0", 0.0)])
def test_filters_by_verdict_behaviour_and_text(opened, printed, verdict, score):
    tab = opened()
    for name in ("left", "right"):
        tab.select_option(f"[name={name}]", "grpo")
    tab.select_option("[name=set]", "countdown-hard")
    tab.select_option("[name=verdict]", verdict)
    tab.select_option("[name=behaviour]", "reflection")
    rows = responses(printed, "grpo/seed0", benchmark="countdown-hard", score=score).query("sample < 4")
    expected = rows[rows.response.str.contains("wait")]
    assert listed(tab) == list(dict.fromkeys(expected.problem)) and 0 < len(listed(tab)) < 20
    tab.fill("[name=search]", "no such words")
    assert listed(tab) == [] and "No sample passes the filters" in tab.locator("#list").inner_text()
    tab.locator("form button[type=reset]").click()
    assert len(listed(tab)) == 20 and tab.locator("[name=search]").input_value() == ""


def test_order_by_who_is_better(opened, printed):
    tab = opened("#samples?left=dsrl&right=base&order=left")
    dsrl, base = (
        responses(printed, run, benchmark="countdown").groupby("problem").score.sum()
        for run in ("dsrl/seed0", "base/seed0")
    )
    lead = [(dsrl - base)[name] for name in listed(tab)]
    assert lead == sorted(lead, reverse=True) and len(lead) == 20 and lead[0] > lead[-1]


def test_along_training_with_the_step_of_each_run(opened, printed):
    tab = opened("#samples?set=dev&left=grpo&right=nsr-prerl&step=15&problem=p7")
    rows = responses(printed, "grpo/seed0", "dev", step=15, problem="p7")
    assert tab.locator(".sides > div").nth(0).locator("pre").all_text_contents() == rows.response.tolist()
    assert "ended before this update" in tab.locator(".sides > div").nth(1).inner_text()
    tab.keyboard.press("[")
    assert tab.locator("[name=step]").input_value() == "10" and "step=10" in tab.url
    assert tab.locator(".sides > div").nth(1).locator(".sample").count() == 4


def test_a_method_beside_itself_is_shown_once_and_public_problems_by_their_question(opened, tmp_path):
    tab = opened("#samples?left=dsrl&right=dsrl")
    assert tab.locator(".sides > *").count() == 1 and "·" not in tab.locator("#list .counts").first.inner_text()
    assert opened("#samples?left=dsrl&right=grpo").locator(".sides > *").count() == 2
    (tmp_path / "problems").mkdir()
    row = {"id": "p0", "question": "How many?", "prompt": "<|im_start|>user\nHow many?"}
    (tmp_path / "problems/public.jsonl").write_text(json.dumps(row) + "\n")
    rows = pd.DataFrame({"problem": ["p0"], "sample": [0]})
    assert _set(tmp_path, "public", rows)["problems"] == [["p0", "How many?"]]


def test_a_deep_link_shows_what_was_seen(opened):
    tab = opened()
    tab.select_option("[name=set]", "countdown-ood")
    tab.select_option("[name=left]", "base")
    tab.select_option("[name=seed]", "1")
    tab.fill("[name=search]", "wait")
    tab.keyboard.press("Escape")
    tab.keyboard.press("j")
    link, seen = tab.evaluate("location.href"), tab.locator("#browser").inner_text()  # tab.url may lag behind
    assert opened("#" + link.split("#")[1]).locator("#browser").inner_text() == seen
    tab.evaluate("location.hash = '#samples?set=countdown-hard&problem=p2'")
    tab.wait_for_function("document.querySelector('[name=set]').value === 'countdown-hard'")
    assert tab.locator("[aria-selected=true] .name").inner_text() == "p2"


def test_a_broken_link_falls_back_to_what_there_is(opened):
    tab = opened("#samples?set=nothing&left=nobody&seed=x&step=99&verdict=2&problem=none")
    assert len(listed(tab)) == 20 and tab.locator("[name=set]").input_value() == "countdown"


def test_the_keyboard_moves_swaps_and_searches(opened):
    tab = opened("#samples?left=dsrl&right=grpo")
    for key, expected in (("j", "p1"), ("j", "p2"), ("k", "p1")):
        tab.keyboard.press(key)
        assert tab.locator("[aria-selected=true] .name").inner_text() == expected
    tab.keyboard.press("s")
    assert [tab.locator(f"[name={name}]").input_value() for name in ("left", "right")] == ["grpo", "dsrl"]
    tab.keyboard.press("n")
    assert tab.locator("[name=seed]").input_value() == "1"
    tab.keyboard.press("/")
    tab.keyboard.type("jk")  # letters in the search are letters
    assert tab.locator("[name=search]").input_value() == "jk"


def test_words_are_marked_and_what_a_model_wrote_stays_text(opened, printed):
    tab = opened("#samples?behaviour=transition")
    marked = tab.locator("#detail mark.kind1").all_inner_texts()
    assert marked and {word.lower() for word in marked} <= {"but", "alternatively"}
    tab.select_option("[name=behaviour]", "")
    tab.fill("[name=search]", "<b>")
    assert tab.locator("#detail pre", has_text="<b>&amp;</script>").count() and not tab.locator("#detail pre b").count()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out_on_a_phone_and_text_is_legible(chromium, page, scheme):
    context = chromium.new_context(viewport={"width": 360, "height": 740}, is_mobile=True, color_scheme=scheme)
    tab = context.new_page()
    tab.goto(page.as_uri())
    tab.wait_for_selector("body[data-ready]")
    assert tab.evaluate("document.documentElement.scrollWidth") == 360
    ink, paper = tab.evaluate("(s => [s.color, s.backgroundColor])(getComputedStyle(document.body))")
    bright = [sum(map(int, re.findall(r"\d+", color)[:3])) / 765 for color in (ink, paper)]
    assert abs(bright[0] - bright[1]) > 0.7 and (bright[0] > bright[1]) == (scheme == "dark")
    context.close()


def test_all_drawings_are_enlarged_alike(page, printed):
    """So that letters are as large in a narrow drawing as in a wide one."""
    text = page.read_text()
    widths = {}
    for name in json.loads((printed / "figures/captions.json").read_text()):
        own = float(re.search(r'\bwidth="([\d.]+)pt"', (printed / f"figures/{name}.svg").read_text())[1])
        shown = float(re.search(rf'aria-labelledby="caption-{name}" style="--drawn: (\d+)pt"', text)[1])
        assert shown == pytest.approx(ENLARGED * own, abs=0.5)
        widths[name] = own
    assert len(set(widths.values())) > 1
