"""One process at a time leads; that it does is seen from outside, and ends with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from evac.core.errors import Conflict
from evac.engine.leadership import is_led, lead
from evac.stores.memory import MemoryStore


async def test_it_is_seen_who_leads_for_as_long_as_he_does(tmp_path: Path) -> None:
    store = MemoryStore(incarnation="this life")
    assert not is_led(tmp_path), "nobody ever has"
    async with lead(tmp_path, store) as leadership:
        assert leadership.incarnation == "this life"
        assert is_led(tmp_path)
        with pytest.raises(Conflict, match=r"process \d+ leads this estate already"):
            async with lead(tmp_path, store):
                raise AssertionError("there is one leader")
        assert is_led(tmp_path), "looking takes nothing away"
    assert not is_led(tmp_path)
