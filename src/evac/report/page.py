"""A report laid out: Markdown for a ticket, and one HTML page that needs nothing else (no scripts, no other files).

What this is not: the words of a step (`sentences`) or what is in a report (`value`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from jinja2 import Environment, PackageLoader, StrictUndefined

from evac.core.observation import Json
from evac.report import words
from evac.report.drawing import NODE_HEIGHT, NODE_WIDTH, graph, timeline
from evac.report.value import Report


def markdown(report: Report) -> str:
    """Return the report as Markdown; its plan is drawn as a Mermaid graph."""
    return _environment(autoescape=False).get_template("report.md.j2").render(_context(report))


def html(report: Report) -> str:
    """Return the report as one HTML page."""
    return _environment(autoescape=True).get_template("report.html.j2").render(_context(report))


def _environment(*, autoescape: bool) -> Environment:
    environment = Environment(
        loader=PackageLoader("evac.report", "templates"),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "span": words.span,
        "offset": words.offset,
        "wall": _wall,
        "facts": facts,
        "cell": _cell,
        "shorter": _shorter,
    }
    return environment


def _context(report: Report) -> dict[str, object]:
    return {
        "report": report,
        "plan": report.plan,
        "graph": graph(report.steps),
        "timeline": timeline(report.steps, report.laps),
        "node_width": NODE_WIDTH,
        "node_height": NODE_HEIGHT,
        "number": {s.step.id: n for n, s in enumerate(report.steps, start=1)},
    }


def facts(told: Mapping[str, Json]) -> str:
    """Return a receipt's facts in one line of text."""
    return ", ".join(f"{k} {v if isinstance(v, str) else json.dumps(v)}" for k, v in told.items() if v is not None)


def _wall(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _cell(text: object) -> str:
    """Return text as a cell of a Markdown table takes it."""
    return str(text).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _shorter(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
