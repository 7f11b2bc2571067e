"""The summaries as tables to read and to print: CSV with every number, Markdown and LaTeX (booktabs) with intervals.

What each table shows is said by its caption, workflow/report/tables/NAME.rst.
"""

from pathlib import Path

from prerl.analysis.study import Study, caption
from prerl.errors import known
from prerl.files.atomic import write_json, write_text
from prerl.report.tables import claims, comparison, evidence, results, sensitivity  # noqa: F401  (to register)
from prerl.report.tables.typeset import TABLES, latex
from prerl.settings.methods import Method


def write_tables(names: list[str], summary: Path, methods: dict[str, Method], captions: Path, out: Path) -> None:
    """Writes, for the named tables, out/NAME.csv (all numbers), and what is printed as .md, .tex and .json; and their
    captions by name to out/captions.json.
    """
    study = Study(summary, methods)
    texts = {name: caption(captions, name) for name in known(names, TABLES, "table")}
    for name, text in texts.items():
        numbers, printed = TABLES[name](study)
        write_text(out / f"{name}.csv", numbers.to_csv(index=False))
        write_text(out / f"{name}.md", f"{text}\n\n{printed.to_markdown(index=False, disable_numparse=True)}\n")
        content = {"caption": text, "columns": list(printed.columns), "rows": printed.astype(str).values.tolist()}
        write_json(out / f"{name}.json", content)
        write_text(out / f"{name}.tex", latex(printed, text, f"tab:{name}"))
    write_json(out / "captions.json", texts)
