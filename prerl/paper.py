"""Compiles the paper with Typst, which pip installs; it reads what the other stages wrote."""

from pathlib import Path

from prerl.errors import UserError
from prerl.records import write


def compile_paper(source: Path, results: Path, out: Path) -> None:
    """Compiles a Typst file to a PDF, the same bytes for the same results. `source` and `results` lie below the working
    directory. Raises UserError if something that it reads is missing or malformed.
    """
    import typst

    root = Path.cwd()
    inputs = {"results": f"/{results.resolve().relative_to(root)}"}

    def produce(path: Path) -> None:
        try:
            path.write_bytes(typst.compile(str(source), root=str(root), sys_inputs=inputs))
        except typst.TypstError as error:
            raise UserError(f"{source}: {' '.join(str(error).split())}") from error

    write(out, produce)
