"""Each broken estate is refused with exactly the messages beside it; `pytest --rewrite-golden` writes them anew.

A diff of an `.expected` file is to be read as what a person at night would read.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from evac.config import load
from evac.core.errors import EstateError
from fakes.kinds import DRIVERS, PROBES

ESTATES = Path(__file__).parent / "estates"
BROKEN = sorted((ESTATES / "broken").glob("*.yaml"))
SECRET = "hunter2hunter2"
"""What every secret in these estates is, so that one that leaks is seen."""


def refused(file: Path) -> tuple[str, ...]:
    with pytest.raises(EstateError) as caught:
        load(file.name, environ={}, drivers=DRIVERS, probes=PROBES)
    return caught.value.problems


@pytest.mark.parametrize("file", BROKEN, ids=lambda file: file.stem)
def test_a_broken_estate_is_refused_with_its_messages(
    file: Path, monkeypatch: pytest.MonkeyPatch, rewrite_golden: bool
) -> None:
    monkeypatch.chdir(file.parent)
    problems = refused(file)
    said = "".join(f"{problem}\n" for problem in problems)
    expected = file.with_suffix(".expected")
    if rewrite_golden:
        expected.write_text(said, encoding="utf-8")
    assert said == expected.read_text(encoding="utf-8")
    assert SECRET not in said
    assert all(problem.startswith(file.name) for problem in problems)


def test_there_are_no_messages_without_an_estate() -> None:
    assert {f.stem for f in (ESTATES / "broken").glob("*.expected")} == {f.stem for f in BROKEN}
    assert len(BROKEN) >= 40


def test_what_the_broken_ones_were_made_from_is_in_order() -> None:
    loaded = load(ESTATES / "valid.yaml", environ={}, drivers=DRIVERS, probes=PROBES)
    assert loaded.warnings == ()
