"""Entries are written in a chain, and a large first one is packed."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from datetime import timedelta

import pytest

from evac.core.run import Failed, Failure, Opened
from evac.engine.chain import PACKED, Entry, link, unlink
from evac.engine.codec import PACKED_ABOVE, TAG, encode_plain
from fakes.evidence import signed_run
from fakes.shapes import shapes

FIRST = unlink(signed_run(shapes()[0]).entries[0]).event
LARGE = "x" * PACKED_ABOVE


def test_a_large_first_entry_is_packed_and_read_as_it_was() -> None:
    assert isinstance(FIRST, Opened)
    large = replace(FIRST, plan=replace(FIRST.plan, notes=(LARGE,)))
    written = link(large, before="")
    assert len(written) < len(LARGE) / 4
    assert set(json.loads(written)) == {TAG, PACKED, "before"}
    assert json.loads(written)[TAG] == "Opened"
    assert unlink(written) == Entry(event=large, before="")


def test_what_is_small_or_signed_is_written_in_plain_text() -> None:
    failed = Failed(
        at=timedelta(), step=shapes()[0].plan.steps[0].id, attempt=1, failure=Failure.REJECTED, reason=LARGE
    )
    for event in (FIRST, failed):
        written = link(event, before="a digest")
        assert PACKED not in json.loads(written)
        assert unlink(written) == Entry(event=event, before="a digest")


@pytest.mark.parametrize(
    "held", ["", "no base64", b64encode(b"x damaged").decode(), b64encode(b"[]").decode(), 7, None]
)
def test_what_cannot_be_unpacked_is_damaged(held: object) -> None:
    with pytest.raises(ValueError, match=r".*"):
        unlink(encode_plain({TAG: "Opened", PACKED: held, "before": ""}))
