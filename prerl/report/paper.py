"""Compiles the paper with Typst, which pip installs; it reads what the other stages wrote."""

from pathlib import Path

from prerl.errors import UserError
from prerl.files.atomic import write


def compile_paper(source: Path, results: Path, baselines: Path, out: Path) -> None:
    """Compiles a Typst file to a PDF, the same bytes for the same results. `source`, `results` and `baselines`, where
    reference results of other scales lie, are below the working directory. Raises UserError if something that it reads
    is missing or malformed, or lies elsewhere.
    """
    import typst

    root = Path.cwd()
    found = sorted(path.parent.name for path in baselines.glob("*/alignment.json"))
    others = [name for name in found if name != results.name]
    for path in (source, results):
        if not path.resolve().is_relative_to(root):  # Typst reads nothing outside its root
            raise UserError(f"{path}: not below {root}; run the command in a directory that holds it")
    inputs = {"results": f"/{results.resolve().relative_to(root)}", "references": ",".join(others)}

    def produce(path: Path) -> None:
        try:
            path.write_bytes(typst.compile(str(source), root=str(root), sys_inputs=inputs))
        except typst.TypstError as error:
            raise UserError(f"{source}: {' '.join(str(error).split())}") from error

    write(out, produce)
