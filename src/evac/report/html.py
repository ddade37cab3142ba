"""A report as one HTML page that needs nothing else: no scripts, no fonts, no other files."""

from __future__ import annotations

from evac.report.layout import render
from evac.report.value import Report


def to_html(report: Report) -> str:
    """Return the report as one page; everything that came from the world is escaped."""
    return render(report, template="report.html.j2", autoescape=True)
