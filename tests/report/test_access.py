"""That everybody can read the pages: contrast, names, headings, keyboard, a phone's width; from disk, without npm."""

import os
import re
from itertools import pairwise
from pathlib import Path

import pytest

from prerl.analysis.behaviour import load_lexicon
from prerl.files.atomic import write_text
from prerl.report import watch
from prerl.report.headline import headline
from prerl.report.page import write_page
from tests.helpers import ROOT
from tests.study import LEXICON

PAGES = ROOT / "workflow/page"
# Chromium skips what is far below or closed; what is checked is all that a reader can open.
OPEN = """async () => {
    for (const part of document.querySelectorAll("details")) part.open = true;
    for (const figure of document.querySelectorAll("figure")) figure.style.contentVisibility = "visible";
    await new Promise((done) => setTimeout(done, 200));
}"""
NAMED = "a, button, select, input, summary, progress, svg[role], [tabindex='0']"
NAMELESS = f"""() => [...document.querySelectorAll("{NAMED}")].filter((part) => {{
    const label = part.getAttribute("aria-label") || part.labels?.[0]?.textContent || part.textContent;
    return part.checkVisibility() && !label.trim();
}}).map((part) => part.outerHTML.slice(0, 100))"""
UNREACHED = """() => [...document.querySelectorAll("body *")].filter((box) => {
    const style = getComputedStyle(box), scrolls = (overflow) => ["auto", "scroll"].includes(overflow);
    const wide = scrolls(style.overflowX) && box.scrollWidth - box.clientWidth > 1;
    const high = scrolls(style.overflowY) && box.scrollHeight - box.clientHeight > 1;
    return (wide || high) && box.tabIndex < 0 && !box.querySelector("a, button:not([tabindex='-1']), summary");
}).map((box) => box.outerHTML.slice(0, 100))"""


def unfinished(out):
    job = {"rule": "train", "name": "train grpo 0", "file": "none", "log": str(out.with_suffix(".log"))}
    job |= {"seconds": None}
    Path(job["log"]).write_text("a-line-without-blanks/" * 10)
    plan = {"name": "made-up", "description": "A study.", "seconds": 600.0, "jobs": [job] * 3}
    curves = {"grpo": {0: {0: 0.2, 5: 0.4}}, "dsrl": {0: {0: 0.2, 5: 0.3}}}
    content = watch.state(plan, [job], [job], 60) | {"stopped": False, "mark": watch.MARK}
    write_text(out, watch.render(PAGES / "unfinished.html", content | {"drawing": watch.drawing(curves)}))


@pytest.fixture(scope="module")
def pages(printed, methods, tmp_path_factory):
    root = tmp_path_factory.mktemp("pages")
    template, further = PAGES / "index.html", root / "further"
    write_text(further / "accuracy.json", (printed / "tables/accuracy.json").read_text())
    write_page(printed, printed / "summary", methods, load_lexicon(LEXICON), template, root / "index.html", further)
    unfinished(root / "unfinished.html")
    return root


@pytest.fixture
def visit(chromium, pages):
    contexts = []

    def open_page(name, fragment="", **options):
        contexts.append(chromium.new_context(**options))
        tab = contexts[-1].new_page()
        tab.goto((pages / name).as_uri() + fragment)
        if name == "index.html":
            tab.wait_for_selector("body[data-ready]")
        return tab

    yield open_page
    for context in contexts:
        context.close()


def colours(css):
    """The page's colours by name, light and dark."""
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w+)", block)) for block in re.findall(r":root \{(.+?)\}", css, re.S)
    )
    return {"light": light, "dark": light | dark}


def luminance(colour):
    """As WCAG 2 defines it."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_it_lies_on(scheme):
    found = colours((PAGES / "style.css").read_text())[scheme]
    lies_on = {name: ["paper"] for name in ("link", "reproduced", "not", "inconclusive")}
    lies_on |= {"ink": ["paper", "panel", "chosen", "reflection", "transition"], "soft": ["paper", "chosen"]}
    for text, grounds in lies_on.items():
        for ground in grounds:
            dark, bright = sorted(luminance(found[name]) for name in (text, ground))
            assert (bright + 0.05) / (dark + 0.05) >= 4.5, (text, ground)


def test_nothing_moves():
    """So there is nothing that a reader who asked for less motion would have to be spared."""
    assert not re.search(
        r"(?<!-)transition\s*:|animation|scroll-behavior|@keyframes", (PAGES / "style.css").read_text()
    )


@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("name", ["index.html", "unfinished.html"])
def test_everything_has_a_name_and_is_reached(visit, name, width):
    tab = visit(name, viewport={"width": width, "height": 800})
    tab.evaluate(OPEN)
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    assert tab.evaluate(NAMELESS) == [] and tab.evaluate(UNREACHED) == []
    levels = [
        int(level[1]) for level in tab.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => h.tagName)")
    ]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    landmarks = tab.evaluate("[...document.querySelectorAll('[role=region]')].map(r => r.getAttribute('aria-label'))")
    assert len(landmarks) == len(set(landmarks))
    assert not tab.locator("meta[http-equiv=refresh]").count()  # nobody can hold it off


def test_what_does_not_scroll_is_no_stop_of_the_keyboard(visit):
    for width, stops in ((360, True), (1440, False)):
        tab = visit("index.html", viewport={"width": width, "height": 800})
        tab.wait_for_timeout(200)
        assert bool(tab.locator("header .drawing[tabindex='0']").count()) == stops


@pytest.mark.parametrize("width", [360, 1440])
def test_the_keyboard_walks_through_the_whole_page(visit, width):
    """Each stop is seen, none is lost and none holds the focus: after the last section it leaves the page."""
    tab, seen = visit("index.html", viewport={"width": width, "height": 800}), []
    while len(seen) < 300:
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement === document.body"):
            break
        where = """() => { const { top, bottom } = document.activeElement.getBoundingClientRect();
            return [document.activeElement.closest("section")?.id, bottom > 0 && top < innerHeight]; }"""
        seen.append(tab.evaluate(where))
    assert all(visible for _, visible in seen)
    sections = ("claims", "figures", "tables", "baselines", "methods", "samples", "made")
    order = list(dict.fromkeys(section for section, _ in seen if section))
    assert order == [name for name in sections if name in order]
    assert {"claims", "tables", "methods", "samples"} <= set(order) and order[-1] == "made" and len(seen) < 300


def test_the_keyboard_alone_sorts_a_table_and_opens_another(visit):
    tab = visit("index.html")
    tab.locator("#table-accuracy summary").focus()
    tab.keyboard.press("Tab")
    if tab.evaluate("document.activeElement.className") == "scroll":
        tab.keyboard.press("Tab")
    assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tab.keyboard.press("Enter")
    assert tab.locator("#table-accuracy th").first.get_attribute("aria-sort") == "ascending"
    closed = tab.locator("#tables details:not([open]) summary").first
    closed.focus()
    tab.keyboard.press("Enter")
    assert tab.locator("#tables details:focus-within").get_attribute("open") is not None


def test_the_samples_are_reached_and_left_by_the_keyboard(visit):
    tab = visit("index.html")
    tab.keyboard.press("j")  # a letter does nothing where the focus is not
    assert "#" not in tab.url
    tab.locator("#filters button").focus()
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.id") == "list"
    tab.keyboard.press("ArrowDown")
    chosen = tab.locator("[aria-selected=true]")
    assert chosen.locator(".name").inner_text() == "p1"
    assert tab.locator("#list").get_attribute("aria-activedescendant") == chosen.get_attribute("id")
    tab.locator("#list .name", has_text="p3").first.click()
    assert tab.evaluate("document.activeElement.id") == "list"
    tab.keyboard.press("Tab")
    assert not tab.evaluate("document.getElementById('samples').contains(document.activeElement)")


def test_a_page_that_renews_itself_can_be_held(visit):
    tab = visit("unfinished.html")
    tab.clock.install()
    tab.reload()
    tab.locator("button").press("Enter")
    assert tab.locator("button").get_attribute("aria-pressed") == "true"
    tab.evaluate("window.mine = true")
    tab.clock.run_for(60_000)
    assert tab.evaluate("window.mine")
    tab.locator("button").press("Enter")
    tab.clock.run_for(16_000)
    tab.wait_for_function("!window.mine")


def test_the_page_begins_with_what_was_found(visit):
    tab = visit("index.html", viewport={"width": 1440, "height": 900})
    assert "GRPO" in tab.locator("header .headline").inner_text()
    assert tab.locator("header figure svg").bounding_box()["y"] < 450


def test_the_headline_says_what_the_claims_say():
    claims = [{"id": "dsrl-beats-grpo", "subject": "Accuracy in domain", "verdict": "inconclusive"}]
    parts = [{"id": "dsrl-beats-grpo", "unit": "points", "estimate": -0.16, "low": -2.2, "high": 2.0}]
    said = headline(claims, parts)
    assert "cannot be told apart from GRPO: -0.2 [-2.2, +2.0] points of accuracy in domain." in said
    assert said.endswith(" Of the paper's claims, one is tested here and none is reproduced.")
    claims[0]["verdict"] = "reproduced"
    assert "more accurate than GRPO" in headline(claims, parts) and headline(claims, parts).endswith(
        "one is reproduced."
    )
    claims[0]["verdict"] = "not reproduced"
    assert "less accurate than GRPO" in headline(claims, parts)
    claims[0]["verdict"] = "not tested at this scale"
    assert headline(claims, []) == "No claim of the paper can be tested here."


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["index.html", "unfinished.html"])
def test_axe_finds_no_violation(visit, name, scheme):
    path = os.environ.get("PRERL_AXE")
    if not path:
        pytest.skip("axe is no part of this suite: `npm install axe-core`, and name its axe.min.js in PRERL_AXE")
    for width in (360, 800, 1440):
        tab = visit(name, viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True)
        tab.evaluate(OPEN)
        tab.evaluate(Path(path).read_text())
        assert (
            tab.evaluate("axe.run().then((found) => found.violations.map((one) => [one.id, one.nodes[0].html]))") == []
        )
