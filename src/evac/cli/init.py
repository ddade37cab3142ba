"""`evac init`: writes a commented estate to start from."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from evac.cli.terminal import JsonOption, print_json
from evac.core.errors import EvacError, NameTaken


def add_to(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("init")
    def init(
        path: Annotated[Path, typer.Argument(help="The file to write.")] = Path("estate.yaml"),
        reference: Annotated[
            bool, typer.Option("--reference", help="Write the nine-region, three-cloud reference estate instead.")
        ] = False,
        as_json: JsonOption = False,
    ) -> None:
        """Write a commented estate to start from. A file with something in it is never overwritten."""
        name = "reference.yaml" if reference else "starter.yaml"
        text = resources.files("evac.config").joinpath("estates", name).read_text()
        try:
            with path.open("w" if _empty(path) else "x") as file:
                file.write(text)
        except FileExistsError:
            raise NameTaken(f"{path} exists and is left as it is; name another file: evac init OTHER.yaml") from None
        except OSError as error:
            raise EvacError(f"{path} cannot be written: {error.strerror}") from None
        if as_json:
            print_json({"wrote": str(path)})
        else:
            print(f"wrote {path}; edit it, then: evac check --estate {path}")


def _empty(path: Path) -> bool:
    """Whether a file is there and nothing but white space is in it."""
    return path.is_file() and not path.read_bytes().strip()
