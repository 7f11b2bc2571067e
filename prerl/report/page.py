"""The page of a study: claims, figures, tables and samples in one HTML file that works from disk and offline."""

import math
import re
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from prerl.analysis.behaviour import Lexicon
from prerl.analysis.study import Study
from prerl.analysis.verdicts import amount
from prerl.errors import UserError
from prerl.files.atomic import read_json, write_text
from prerl.report.headline import headline
from prerl.report.methods import cards
from prerl.report.rows import each
from prerl.report.samples import pack, sample_data
from prerl.settings.methods import Method

ENLARGED = 1.7  # drawings are made for a paper, in small type; all by as much, so that letters are alike
VERDICTS = ("reproduced", "not reproduced", "equivalent", "inconclusive", "not tested at this scale")


def write_page(
    results: Path,
    summary: Path,
    methods: dict[str, Method],
    lexicon: Lexicon,
    template: Path,
    out: Path,
    further: Path | None = None,
    entries: dict[str, Any] | None = None,
) -> None:
    """Writes the page of the study whose summaries lie in `summary`, beside its tables, figures and claims; `results`
    holds the runs, `further` tables of the committed baselines that it shows too, and `entries` is what
    `prerl.report.entries` makes of those. Raises UserError if a file is missing or the template is malformed.
    """
    study = Study(summary, methods)
    claims, parts = (
        [{str(name): value for name, value in row.items()} for row in table.to_dict("records")]
        for table in (study.claims, study.parts)
    )
    elsewhere = list(each(study.elsewhere))
    for part in parts:
        part |= {"bar": bar(part), "found": found(part)}
        others = [row._asdict() for row in elsewhere if (row.id, row.part) == (part["id"], part["part"])]
        part["elsewhere"] = [other | {"found": found(other)} for other in others]
    for claim in claims:
        claim["parts"] = [part for part in parts if part["id"] == claim["id"]]
        claim["elsewhere"] = {row.scale: row.verdict for row in elsewhere if row.id == claim["id"]}
    render(
        study,
        template,
        out,
        verdicts={name: sum(row["verdict"] == name for row in claims) for name in VERDICTS},
        headline=headline(claims, parts),
        claims=claims,
        samples=pack(sample_data(results, study, lexicon)),
        further=[(path.stem, read_json(path)) for path in sorted(further.glob("*.json"))] if further else [],
        entries=entries,
    )


def write_comparison(
    summary: Path, methods: dict[str, Method], template: Path, out: Path, entries: dict[str, Any] | None = None
) -> None:
    """Writes the page of a comparison with the baselines, whose summaries lie in `summary`, beside its tables and
    figures; `entries` is what `prerl.report.entries` makes of those. Raises UserError if a file is missing or the
    template is malformed."""
    study = Study(summary, methods)
    new = methods[study.scale["new"]]
    render(
        study,
        template,
        out,
        conclusion=read_json(summary / "conclusion.json"),
        label=new.label,
        description=new.description,
        phases=[phase.model_dump() for phase in new.phases],
        further=[],
        entries=entries,
    )


def render(study: Study, template: Path, out: Path, **content: Any) -> None:
    """Fills the template with a study's tables and figures, where it was made, and other content."""
    directory = study.summary.parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        autoescape=jinja2.select_autoescape(),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    tables = read_json(directory / "tables" / "captions.json")
    figures = read_json(directory / "figures" / "captions.json")
    try:
        page = environment.get_template(template.name).render(
            scale=study.scale,
            made=read_json(study.summary / "provenance.json"),
            figures=[(name, text, drawing(directory / f"figures/{name}.svg", name)) for name, text in figures.items()],
            tables=[(name, read_json(directory / f"tables/{name}.json")) for name in tables],
            methods=cards(study),
            title=title,
            machine=machine,
            **content,
        )
    except jinja2.TemplateError as error:
        raise UserError(f"{template}: {error}") from error
    write_text(out, page)


def found(part: dict[str, Any]) -> str:
    return amount(part["unit"], part["estimate"], part["low"], part["high"])


def title(name: str) -> str:
    """A heading from a table's or figure's name: pass_at_k -> Pass@k."""
    return name.replace("_at_", "@").replace("_", " ").capitalize()


def machine(hardware: dict[str, Any]) -> str:
    """A record's hardware in words, as far as it names it."""
    words = [hardware.get("processor"), hardware["machine"]]
    if "kernel" in hardware:
        words.append(f"torch's kernel {hardware['kernel']}")
    for name, word in {"threads": "thread", "cpus": "CPU"}.items():
        if name in hardware:
            words.append(f"{hardware[name]} {word}{'s' if hardware[name] != 1 else ''}")
    return ", ".join(word for word in [*words, hardware.get("gpu"), hardware.get("system")] if word)


def drawing(path: Path, name: str) -> Markup:
    """An SVG file as an element of the page. Its ids get the name in front, for one page holds many drawings."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); run the stage that makes it") from error
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    width = re.search(r'\bwidth="([\d.]+)pt"', text)
    drawn = f'style="--drawn: {ENLARGED * float(width[1]):.0f}pt" ' if width else ""
    return Markup(text.replace("<svg ", f'<svg role="img" aria-labelledby="caption-{name}" {drawn}', 1))


def bar(part: dict[str, Any]) -> dict[str, Any]:
    """Where a part's interval, estimate, margins and reported number lie along a line, in per cent of its length;
    `from` and `to` bound where a condition wants the interval. Ratios lie on a logarithmic scale."""
    named = {name: part[name] for name in ("low", "estimate", "high", "reported")}
    margins = {"margin": part["margin"], "other": -part["margin"]} if part["side"] == "within" else {}
    places = named | (margins or {"margin": part["margin"]})
    logarithmic = part["unit"] == "ratio"
    if logarithmic:
        places = {name: math.log(value) if value > 0 else -math.inf for name, value in places.items() if value == value}
    finite = [value for value in places.values() if math.isfinite(value)] + [0.0]  # no effect
    room = 0.08 * (max(finite) - min(finite) or 1.0)
    first, last = min(finite) - room, max(finite) + room
    found: dict[str, Any] = {
        name: round(100 * (min(max(value, first), last) - first) / (last - first), 2)
        for name, value in places.items()
        if not math.isnan(value)
    }
    margin = found.pop("margin", None)
    margins = [found.pop("other"), margin] if "other" in found else [] if margin is None else [margin]
    wanted = {"above": [*margins, 100.0], "below": [0.0, *margins], "within": margins}.get(part["side"])
    return found | {"margins": margins} | (dict(zip(("from", "to"), wanted, strict=True)) if wanted else {})
