"""What Markdown and HTML share: the templates' surroundings and the drawings beside a report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime

from jinja2 import Environment, PackageLoader, StrictUndefined

from evac.core.observation import Json
from evac.report import words
from evac.report.drawing import NODE_HEIGHT, NODE_WIDTH, graph, shown_needs, timeline
from evac.report.value import Report


def render(report: Report, *, template: str, autoescape: bool) -> str:
    """Return a report as one of the package's templates lays it out."""
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
        "facts": _facts,
        "cell": _cell,
        "shorter": _shorter,
    }
    return environment.get_template(template).render(
        report=report,
        plan=report.plan,
        graph=graph(report.steps),
        timeline=timeline(report.steps, report.laps),
        needs=shown_needs([s.step for s in report.steps]),
        number={s.step.id: n for n, s in enumerate(report.steps, start=1)},
        node_width=NODE_WIDTH,
        node_height=NODE_HEIGHT,
    )


def _facts(told: Mapping[str, Json]) -> str:
    """Return a receipt's facts in one line of text."""
    return ", ".join(f"{k} {v if isinstance(v, str) else json.dumps(v)}" for k, v in told.items() if v is not None)


def _wall(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _cell(text: object) -> str:
    """Return text as a cell of a Markdown table takes it."""
    return str(text).replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")


def _shorter(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
