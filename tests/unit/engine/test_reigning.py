"""A leader that cannot lead lays the lead down, and takes nothing else of its process with it."""

from __future__ import annotations

import asyncio

import pytest

from evac.core.errors import StoreUnavailable
from evac.engine.reigning import reign_if_one_can
from evac.sim import time


async def _failing(*errors: Exception) -> None:
    async def fail(error: Exception) -> None:
        raise error

    async with asyncio.TaskGroup() as parts:
        for error in errors:
            parts.create_task(fail(error))


def test_what_a_leader_cannot_read_ends_its_lead_and_no_more(capsys: pytest.CaptureFixture[str]) -> None:
    time.run(reign_if_one_can(_failing(ValueError("run 7 is damaged")), clock=time.VirtualClock()))
    assert "run 7 is damaged" in capsys.readouterr().out


@pytest.mark.parametrize("beside", [(), (ValueError("too"),)])
def test_that_the_store_is_away_is_told_to_whoever_stands(beside: tuple[Exception, ...]) -> None:
    with pytest.raises(ExceptionGroup) as told:
        time.run(reign_if_one_can(_failing(StoreUnavailable("away"), *beside), clock=time.VirtualClock()))
    assert told.value.subgroup(StoreUnavailable) is not None
