"""`evac report RUN`: what happened, measured, for the morning after."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from evac.cli.terminal import (
    ESTATE_DEFAULT,
    EnvironmentOption,
    EstateOption,
    JsonOption,
    StateOption,
    StoreOption,
    print_json,
)
from evac.opening import read_estate
from evac.report.html import to_html
from evac.report.markdown import to_markdown
from evac.report.value import Report


class Form(StrEnum):
    """How a report is written."""

    MARKDOWN = "markdown"
    HTML = "html"


def add_to(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("report")
    def report(
        run: Annotated[str, typer.Argument(help="The run, as evac runs lists it.")],
        estate: EstateOption = ESTATE_DEFAULT,
        environment: EnvironmentOption = None,
        state: StateOption = None,
        store: StoreOption = None,
        form: Annotated[Form, typer.Option("--form", help="Markdown, or one HTML page.")] = Form.MARKDOWN,
        out: Annotated[Path | None, typer.Option("--out", "-o", help="Write to this file instead.")] = None,
        as_json: JsonOption = False,
    ) -> None:
        """Show what happened in a run. Timeline, evidence, receipts, what was reached, what was lost."""
        made = asyncio.run(_make(estate, environment, state, store, run))
        if as_json:
            print_json(made)
            return
        text = to_html(made) if form is Form.HTML else to_markdown(made)
        if out is None:
            print(text)
        else:
            out.write_text(text)
            print(f"wrote {out}")


async def _make(path: Path, environment: str | None, state: Path | None, store: str | None, run: str) -> Report:
    async with read_estate(path, environment=environment, state=state, store=store) as opened:
        return await opened.report(run)
