"""A history is written line by line and read back as writes."""

from __future__ import annotations

import pytest

from evac.lab import history
from evac.lab.history import Ending, Owner


def _begun(id: str, at: float) -> str:
    return history.invocation(id=id, client="c", store="orders", via="web", at=at)


def test_lines_become_writes_in_the_order_of_invocation() -> None:
    owner = Owner(node="us-east-1", term=4, address="10.77.1.1")
    writes = history.read(
        [
            _begun("b", 2.0),
            _begun("a", 1.0),
            history.ending(id="a", at=2.5, how=Ending.OK, owner=owner),
            history.ending(id="b", at=3.0, how=Ending.FAIL, reason="503"),
        ]
    )

    assert [w.id for w in writes] == ["a", "b"]
    assert writes[0].owner == owner
    assert writes[0].acknowledged_at == 2.5
    assert (writes[1].ending, writes[1].reason, writes[1].acknowledged_at) == (Ending.FAIL, "503", None)


def test_write_whose_client_was_killed_is_unknown() -> None:
    (write,) = history.read([_begun("a", 1.0) + "\n", '{"event": "ok", "id": "a", "at'])

    assert (write.ending, write.ended, write.owner) == (Ending.INFO, None, None)


@pytest.mark.parametrize(
    "lines",
    [
        [_begun("a", 1.0), _begun("a", 2.0)],
        [history.ending(id="a", at=2.0, how=Ending.INFO)],
        [_begun("a", 1.0), *[history.ending(id="a", at=2.0, how=Ending.INFO)] * 2],
    ],
    ids=["invoked twice", "ended only", "ended twice"],
)
def test_broken_history_is_refused(lines: list[str]) -> None:
    with pytest.raises(ValueError, match="write a is told twice"):
        history.read(lines)
