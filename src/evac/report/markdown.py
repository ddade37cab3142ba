"""A report as Markdown, for a terminal, a ticket or a chat; its plan is a Mermaid graph."""

from __future__ import annotations

from evac.report.layout import render
from evac.report.value import Report


def to_markdown(report: Report) -> str:
    """Return the report as Markdown (GitHub's, with tables)."""
    return render(report, template="report.md.j2", autoescape=False)
