"""`evac schema`: the estate file's JSON Schema, for editors."""

from __future__ import annotations

import json

import typer

from evac.config import json_schema


def add_to(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("schema")
    def schema() -> None:
        """Print the JSON Schema of estate files, for editors. It is JSON as it is."""
        print(json.dumps(json_schema(), indent=2))
