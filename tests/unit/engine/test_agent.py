"""An agent tells what it saw while it can act in its region, and nothing otherwise."""

from __future__ import annotations

import asyncio
import functools
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, ParamSpec

import pytest

from evac.core.errors import Rejected, Unavailable
from evac.core.estate import ComponentId, Estate, Probe, Region, RegionId, RegionRole, ServiceId
from evac.core.observation import MemberRole, MemberSeen, MemberState, Observation, Probed
from evac.core.policy import Detection
from evac.engine.agent import Agent
from evac.engine.clock_filter import ClockFilter
from evac.engine.views import decode_view, view_key
from evac.sim import time
from fakes.standing import NotingStore, ScriptedMember, ScriptedPlace, ScriptedProber, ScriptedProbes

HERE, THERE = RegionId("us-west-2"), RegionId("us-east-1")
QUICK = Detection(
    interval=timedelta(milliseconds=10),
    timeout=timedelta(milliseconds=400),
    client_interval=timedelta(milliseconds=10),
    client_timeout=timedelta(milliseconds=400),
)
PRIMARY = MemberState(role=MemberRole.PRIMARY, writable=True, position=7)


def estate(probes: Sequence[Probe]) -> Estate:
    """Two regions, and what is probed."""
    regions = {
        r: Region(id=r, provider="lab", latitude=0, longitude=0, jurisdiction="US", role=RegionRole.ACTIVE)
        for r in (HERE, THERE)
    }
    return Estate(
        name="two", regions=regions, services={}, components={}, probes=tuple(probes), home={}, detection=QUICK
    )


def probe(service: str, prober: ScriptedProber, *, as_client: bool = False) -> Probe:
    return Probe(kind="scripted", service=ServiceId(service), region=THERE, settings=prober, as_client=as_client)


class Told:
    """What a store was told, decoded."""

    def __init__(self, store: NotingStore) -> None:
        self.store = store

    def all(self) -> list[Observation]:
        records = [put[view_key(HERE)] for put in self.store.written]
        return [o for r in records for o in decode_view(r, now=timedelta(hours=1), clocks=ClockFilter())]

    def probed(self, service: str) -> list[Probed]:
        return [o for o in self.all() if isinstance(o, Probed) and o.service == service]

    def members(self) -> list[MemberSeen]:
        return [o for o in self.all() if isinstance(o, MemberSeen)]


P = ParamSpec("P")


def virtually(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Play a test in virtual time, where no machine is too slow for a time limit."""

    @functools.wraps(test)
    def play(*args: P.args, **kwargs: P.kwargs) -> None:
        time.run(test(*args, **kwargs))

    return play


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.002)


@asynccontextmanager
async def agent(
    probers: dict[str, ScriptedProber],
    *,
    member: ScriptedMember | None = None,
    place: ScriptedPlace | None = None,
    probes: Sequence[Probe] | None = None,
) -> AsyncIterator[Told]:
    """Run an agent of HERE for as long as the context lives; unless said otherwise each prober has its own service."""
    declared = probes or [probe(name, prober, as_client=name == "client") for name, prober in probers.items()]
    store = NotingStore()
    one = Agent(
        HERE,
        estate=estate(declared),
        store=store,
        place=place or ScriptedPlace(),
        clock=time.VirtualClock(),
        probe_kinds={"scripted": ScriptedProbes()},
        members={ComponentId("orders-db"): member} if member else {},
        chance=random.Random(1),
    )
    async with asyncio.TaskGroup() as group:
        running = group.create_task(one.run())
        yield Told(store)
        running.cancel()
    assert all(prober.closed for prober in probers.values())


@virtually
async def test_answers_failures_and_silence_are_told_each_as_what_it_is() -> None:
    probers = {
        "well": ScriptedProber(lambda n: ""),
        "ill": ScriptedProber(lambda n: "status 500"),
        "silent": ScriptedProber(lambda n: None),
        "client": ScriptedProber(lambda n: None if n % 2 else ""),
        "refused": ScriptedProber(lambda n: ConnectionRefusedError("connection refused")),
    }
    async with agent(probers) as told:
        await until(lambda: all(len(told.probed(name)) >= 4 for name in probers))
        assert {p.ok for p in told.probed("well")} == {True}
        assert {p.reason for p in told.probed("ill")} == {"status 500"}
        assert {p.reason for p in told.probed("refused")} == {"connection refused"}
        assert all(p.reason.startswith("no answer in") for p in told.probed("silent"))
        assert [p.ok for p in told.probed("client")][:4] == [False, True, False, True]
        assert all(p.vantage == HERE and p.region == THERE for p in told.probed("well"))
    assert all(prober.at_once_max == 1 for prober in probers.values())


@pytest.mark.parametrize("as_client", [False, True])
@virtually
async def test_of_several_probes_of_one_target_all_must_pass(as_client: bool) -> None:
    """Whichever order they are declared in, and whichever of them fails, there is one answer a look."""
    turns = 4
    first = ScriptedProber(lambda n: "status 500" if n % turns == 1 else "")
    second = ScriptedProber(
        lambda n: Unavailable("no secret") if n % turns == 2 else "no row" if n % turns == 3 else ""
    )
    declared = [probe("shop", prober, as_client=as_client) for prober in (first, second)]
    async with agent({"a": first, "b": second}, probes=declared) as told:
        await until(lambda: len(told.probed("shop")) >= 2 * turns)
        assert {p.as_client for p in told.probed("shop")} == {as_client}
    told_in_turn = ["status 500", "no row", ""]  # the second look could not be made, so nothing is told of it
    assert [p.reason for p in told.probed("shop")][: 2 * turns - 2] == told_in_turn * 2


@virtually
async def test_what_could_not_be_looked_at_is_unknown_not_down() -> None:
    broken = {
        "placeless": ScriptedProber(lambda n: Unavailable("the place is gone")),
        "secretless": ScriptedProber(lambda n: Rejected("no secret")),
        "buggy": ScriptedProber(lambda n: ZeroDivisionError()),
    }
    async with agent(broken) as told:
        await until(lambda: all(p.asked >= 3 for p in broken.values()) and len(told.store.written) > 3)
        assert all(not isinstance(o, Probed) for o in told.all())


@virtually
async def test_members_are_told_with_their_state_or_the_reason_for_none() -> None:
    member = ScriptedMember(PRIMARY)
    async with agent({}, member=member) as told:
        await until(lambda: any(m.state == PRIMARY for m in told.members()))
        member.says = Unavailable("does not answer")
        await until(lambda: told.members()[-1].reason == "does not answer")
        assert told.members()[-1].state is None
        member.says = ZeroDivisionError("oops")
        await until(lambda: "bug" in told.members()[-1].reason)


@pytest.mark.parametrize("trouble", [None, "cut off"])
@virtually
async def test_no_sign_of_life_no_heartbeat_and_what_was_seen_blind_is_forgotten(trouble: str | None) -> None:
    place = ScriptedPlace()
    says = ""
    prober = ScriptedProber(lambda n: says)
    async with agent({"shop": prober}, place=place) as told:
        await until(lambda: told.probed("shop"))
        place.trouble = trouble
        await until(lambda: place.unanswered >= 2)
        told_before, says, asked = len(told.store.written), "seen blind", prober.asked
        await until(lambda: prober.asked > asked + 5)
        says = "seen again"
        assert len(told.store.written) == told_before
        await until(lambda: prober.asked > asked + 8)
        place.trouble = ""
        await until(lambda: any(p.reason == "seen again" for p in told.probed("shop")))
        assert all(p.reason != "seen blind" for p in told.probed("shop"))


@virtually
async def test_a_question_that_was_asked_blind_fails_for_the_places_sake_though_it_ends_later() -> None:
    place = ScriptedPlace()
    prober = ScriptedProber(lambda n: None if place.trouble else "")
    async with agent({"shop": prober}, place=place) as told:
        await until(lambda: told.probed("shop"))
        place.trouble = "cut off"
        asked = prober.asked
        await until(lambda: prober.asked > asked and place.unanswered)
        place.trouble = ""
        await asyncio.sleep(10 * QUICK.timeout.total_seconds())
        assert prober.asked > asked + 1
        assert all(p.ok for p in told.probed("shop"))


async def test_a_connection_made_anew_between_two_signs_of_life_was_a_blindness() -> None:
    """The place was lost and back before anybody asked: what failed meanwhile failed for its sake.

    Not in virtual time, where the loss and the sign of life would be at the same instant.
    """
    place = ScriptedPlace()

    def answer(n: int) -> str:
        if n % 4:
            return ""
        place.connection += 1
        return "lost for a moment"

    prober = ScriptedProber(answer)
    async with agent({"shop": prober}, place=place) as told:
        await until(lambda: prober.asked > 14)
        await until(lambda: told.probed("shop"))
        assert {p.reason for p in told.probed("shop")} == {""}


@virtually
async def test_what_the_store_did_not_take_is_told_with_the_next() -> None:
    prober = ScriptedProber(lambda n: "" if n != 4 else "remember me")
    async with agent({"shop": prober}) as told:
        await until(lambda: told.store.written)
        told.store.down = prober.asked < 4
        await until(lambda: prober.asked > 8)
        told.store.down = False
        await until(lambda: any(p.reason == "remember me" for p in told.probed("shop")))
