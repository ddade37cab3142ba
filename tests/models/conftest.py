"""The table of what was searched, after the tests."""

from __future__ import annotations

import pytest

from models.spin import Case, Search

SEARCHED = pytest.StashKey[list[tuple[Case, Search]]]()


@pytest.fixture
def searched(request: pytest.FixtureRequest) -> list[tuple[Case, Search]]:
    """All searches so far; a test adds its own."""
    return request.config.stash.setdefault(SEARCHED, [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if SEARCHED not in config.stash:
        return
    rows = config.stash[SEARCHED]
    rows.sort(key=lambda row: (row[0].model, row[0].bug, row[0].name))
    terminalreporter.write_line("")
    terminalreporter.write_line(f"{'model':36} {'states':>10} {'seconds':>8}  result")
    for case, found in rows:
        way = f" after {found.steps} steps" if found.steps is not None else ""
        result = f"{found.errors} error{way}" if found.errors else "0 errors, searched to the end"
        terminalreporter.write_line(f"{case.name:36} {found.states:>10,} {found.seconds:>8.1f}  {result}")
