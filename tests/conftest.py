"""What all tests share."""

from __future__ import annotations

import pytest
from hypothesis import settings

settings.register_profile("evac", deadline=None)  # how long an example takes says something of the machine alone
settings.load_profile("evac")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite-golden", action="store_true", help="write golden files anew; then read their diff")


@pytest.fixture(scope="session")
def rewrite_golden(request: pytest.FixtureRequest) -> bool:
    """Whether golden files are to be written anew instead of compared."""
    return bool(request.config.getoption("--rewrite-golden"))
