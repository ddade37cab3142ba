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
from evac.core.errors import NotThere
from evac.engine.verifying import RunRecord, write_record
from evac.opening import read_estate
from evac.report.html import to_html
from evac.report.markdown import to_markdown
from evac.report.value import Report


class Form(StrEnum):
    """How a report is written."""

    MARKDOWN = "markdown"
    HTML = "html"
    RECORD = "record"


def add_to(app: typer.Typer) -> None:
    """Add the command."""

    @app.command("report")
    def report(
        run: Annotated[str, typer.Argument(help="The run, as evac runs lists it.")],
        estate: EstateOption = ESTATE_DEFAULT,
        environment: EnvironmentOption = None,
        state: StateOption = None,
        store: StoreOption = None,
        form: Annotated[
            Form, typer.Option("--form", help="Markdown, one HTML page, or the signed record for evac verify.")
        ] = Form.MARKDOWN,
        out: Annotated[Path | None, typer.Option("--out", "-o", help="Write to this file instead.")] = None,
        as_json: JsonOption = False,
    ) -> None:
        """Show what happened in a run. Timeline, evidence, receipts, what was reached, what was lost."""
        if form is Form.RECORD and as_json:
            raise NotThere("the record is a form of its own, JSON line by line: leave out --json")

        async def made() -> Report | RunRecord:
            async with read_estate(estate, environment=environment, state=state, store=store) as opened:
                return await (opened.record(run) if form is Form.RECORD else opened.report(run))

        found = asyncio.run(made())
        if as_json:
            print_json(found)
        elif out is None:
            print(_text(found, form), end="" if form is Form.RECORD else "\n")
        else:
            out.write_text(_text(found, form), encoding="utf-8")
            print(f"wrote {out}")


def _text(found: Report | RunRecord, form: Form) -> str:
    match found:
        case RunRecord():
            return write_record(found).decode()
        case Report():
            return to_html(found) if form is Form.HTML else to_markdown(found)
