"""Stories and what evac makes of them, as text. `pytest --rewrite-golden` writes them anew; read the diff."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes.story import tell

SCENARIOS = sorted((Path(__file__).parent / "scenarios").glob("*.txt"))
RULE = "\n----\n"


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda p: p.stem)
def test_scenario(path: Path, rewrite_golden: bool) -> None:
    story, _, expected = path.read_text().partition(RULE)
    told = tell(story)
    if rewrite_golden:
        path.write_text(f"{story.rstrip()}{RULE}{told}")
    else:
        assert told == expected


def test_there_are_scenarios() -> None:
    assert len(SCENARIOS) >= 20
