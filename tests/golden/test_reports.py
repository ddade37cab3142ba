"""Every shape of journal gives exactly the report beside it; `pytest --rewrite-golden` writes them anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from evac.report.html import to_html
from evac.report.markdown import to_markdown
from evac.report.value import Report, report_of
from fakes.journals import JOURNALS, estate, rejoin

GOLDEN = Path(__file__).parent / "reports"
KEPT = {".evac/kept/shop/orders-db/8.jsonl": ['{"id": "o-101"}', '{"id": "o-102"}', '{"id": "o-<103>"}']}


def report(name: str) -> Report:
    later = rejoin(orphans=3) if name == "asynchronous" else ()
    return report_of(JOURNALS[name], estate=estate(), rejoined=later, kept=KEPT)


def compare(text: str, file: Path, *, rewrite: bool) -> None:
    if rewrite:
        file.write_text(text)
    assert file.exists(), f"write {file.name} with pytest --rewrite-golden, and read it"
    assert text == file.read_text()


@pytest.mark.parametrize("name", JOURNALS)
def test_markdown(name: str, rewrite_golden: bool) -> None:
    compare(to_markdown(report(name)), GOLDEN / f"{name}.md", rewrite=rewrite_golden)


@pytest.mark.parametrize("name", ["failover", "asynchronous", "stuck", "shift"])
def test_html(name: str, rewrite_golden: bool) -> None:
    page = to_html(report(name))
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page
    compare(page, GOLDEN / f"{name}.html", rewrite=rewrite_golden)


@pytest.mark.parametrize("name", ["failover", "rolled-back"])
def test_a_journal_can_be_laid_out_after_any_of_its_entries(name: str) -> None:
    """A report of a run under way, and of one that a crash cut short, is a report too."""
    journal = JOURNALS[name]
    for end in range(1, len(journal) + 1):
        made = report_of(journal[:end], estate=estate())
        assert to_markdown(made).startswith("# ")
        assert to_html(made).startswith("<!doctype html>")
