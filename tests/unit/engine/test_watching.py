"""An observer's word is as old as it says, its silence is nobody's fault, and each vantage point hears its own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from evac.core.errors import Rejected, StoreUnavailable
from evac.core.estate import Estate, Observer, RegionId, ServiceId
from evac.core.observation import Carried, Observation, Probed
from evac.engine.agent import KEPT_MAX, Agent
from evac.engine.clock_filter import ClockFilter
from evac.engine.views import TOLD_AT_ONCE, decode_view, view_key
from evac.engine.watching import TOLD_TO, keep_watching
from evac.ports import Counted, Finding, Place, Sighted, Watching
from evac.sim import time
from evac.sim.estates import EAST, EUROPE, ORDERS, WEST, shop
from fakes.standing import NotingStore, ScriptedPlace

Answer = Sequence[Sighted | Counted] | Exception | None


@dataclass(slots=True)
class ScriptedObserver:
    """What is answered to the n-th question; None is silence that only cancelling ends."""

    answer: Callable[[int], Answer]
    opens: Callable[[int], Exception | None] = lambda n: None
    name: str = "scripted"
    counts: bool = False
    settings: type = dict
    asked: int = 0
    opened: int = 0
    closed: int = 0
    vantages: list[RegionId] = field(default_factory=list)

    def witnesses(self, settings: Any) -> frozenset[str]:
        return frozenset()

    async def open(self, observer: Observer, place: Place) -> Watching:
        self.opened += 1
        self.vantages.append(observer.vantage)
        if error := self.opens(self.opened):
            raise error
        return self

    async def ask(self) -> Sequence[Sighted | Counted]:
        self.asked += 1
        said = self.answer(self.asked)
        if said is None:
            await asyncio.Event().wait()
        if isinstance(said, Exception):
            raise said
        assert said is not None
        return said

    async def check(self) -> tuple[Finding, ...]:
        return ()

    async def close(self) -> None:
        self.closed += 1


def well(service: ServiceId, *, ok: bool = True, age_s: float = 0.0) -> Sighted:
    return Sighted(
        service=service, region=EAST, ok=ok, age=timedelta(seconds=age_s), reason="" if ok else "1 of 1 not well"
    )


def observer(vantage: RegionId = WEST, *, count: int = 1, as_client: bool = False) -> Observer:
    targets = frozenset((ServiceId(f"s{n}"), EAST) for n in range(count))
    return Observer(name="metrics", kind="scripted", vantage=vantage, settings={}, targets=targets, as_client=as_client)


def heard(kind: ScriptedObserver, *, seconds: float, as_client: bool = False) -> list[Probed]:
    """What is told of an observer that is asked for so long."""
    seen: list[Observation] = []

    async def play() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(seconds):
                await keep_watching(
                    observer(as_client=as_client),
                    kind=kind,
                    place=ScriptedPlace(),
                    clock=time.VirtualClock(),
                    chance=random.Random(1),
                    seen=seen.append,
                )

    time.run(play())
    probed = [o for o in seen if isinstance(o, Probed)]
    assert len(probed) == len(seen)
    return probed


def told_of(
    estate: Estate, kind: ScriptedObserver, *, seconds: float, store: NotingStore | None = None
) -> list[Observation]:
    """What the agent of WEST tells within so long."""
    store = store or NotingStore()

    async def play() -> None:
        agent = Agent(
            WEST,
            estate=estate,
            store=store,
            place=ScriptedPlace(),
            clock=time.VirtualClock(),
            probe_kinds={},
            members={},
            observer_kinds={"scripted": kind},
            chance=random.Random(1),
        )
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(seconds):
                await agent.run()

    time.run(play())
    records = [put[view_key(WEST)] for put in store.written]
    return [o for r in records for o in decode_view(r, now=timedelta(hours=1), clocks=ClockFilter())]


def test_what_is_told_is_as_old_as_it_was() -> None:
    kind = ScriptedObserver(lambda n: [well(ORDERS, age_s=0.25)])
    seen = heard(kind, seconds=10, as_client=True)
    assert {(p.service, p.region, p.vantage, p.ok, p.as_client) for p in seen} == {(ORDERS, EAST, WEST, True, True)}
    assert len(seen) >= 8
    assert all(not p.at % TOLD_TO for p in seen)
    assert {later.at - sooner.at for sooner, later in pairwise(seen)} == {timedelta(seconds=1)}
    assert kind.closed == 1


def test_no_answer_says_nothing_of_anybody() -> None:
    said: list[Answer] = [
        [well(ORDERS)],
        None,
        Rejected("query"),
        OSError(),
        ValueError("bug"),
        [well(ORDERS, ok=False)],
    ]
    kind = ScriptedObserver(lambda n: said[n - 1] if n <= len(said) else [])
    seen = heard(kind, seconds=20)
    assert [(p.ok, p.reason) for p in seen] == [(True, ""), (False, "1 of 1 not well")]
    assert kind.opened == 1


def test_what_cannot_be_opened_yet_is_tried_again() -> None:
    kind = ScriptedObserver(
        lambda n: [well(ORDERS)] if n == 1 else [], opens=lambda n: Rejected("no secret") if n < 3 else None
    )
    assert len(heard(kind, seconds=20)) == 1
    assert kind.opened == 3
    never = ScriptedObserver(lambda n: [], opens=lambda n: Rejected("no secret"))
    assert heard(never, seconds=5) == []
    assert never.closed == 0


def test_what_was_counted_of_real_clients_is_told_with_its_window() -> None:
    window = timedelta(seconds=1)
    counted = Counted(service=ORDERS, region=EAST, window=window, requests=40, failed=3)
    estate = replace(shop(), probes=(), observers=(observer(),))
    (*_, told) = [
        o for o in told_of(estate, ScriptedObserver(lambda n: [counted]), seconds=6) if isinstance(o, Carried)
    ]
    assert (told.service, told.region, told.vantage, told.window) == (ORDERS, EAST, WEST, window)
    assert (told.requests, told.failed) == (40, 3)


def test_an_agent_listens_to_its_own_observers_and_keeps_an_answer_of_any_size() -> None:
    many = 2 * KEPT_MAX
    kind = ScriptedObserver(lambda n: [well(ServiceId(f"s{i}"), ok=bool(i), age_s=i / 1e6) for i in range(many)])
    observers = (observer(count=many), observer(EUROPE, count=many))
    store = NotingStore()
    told = told_of(replace(shop(), probes=(), observers=observers), kind, seconds=3, store=store)
    assert kind.vantages == [WEST]
    probed = [o for o in told if isinstance(o, Probed)]
    assert len(probed) == kind.asked * many
    assert {p.service for p in probed if not p.ok} == {"s0"}
    records = [put[view_key(WEST)] for put in store.written]
    assert max(len(r) for r in records) < 12 * many, "names, and little else"


class Balking(NotingStore):
    """A store that does not take the second commit."""

    refused: int = 0

    async def commit(self, **what: Any) -> int:
        if len(self.written) == 1 and not self.refused:
            self.refused += 1
            raise StoreUnavailable("not now")
        return await super().commit(**what)


def test_what_is_more_than_a_view_holds_follows_and_what_was_not_taken_is_told_again() -> None:
    many = TOLD_AT_ONCE + 7
    kind = ScriptedObserver(lambda n: [well(ServiceId(f"s{i}"), age_s=0.5) for i in range(many)] if n == 1 else [])
    store = Balking()
    estate = replace(shop(), probes=(), observers=(observer(count=many),))
    told = [o.service for o in told_of(estate, kind, seconds=3, store=store) if isinstance(o, Probed)]
    assert store.refused == 1
    assert told == [f"s{i}" for i in range(many)], "each once, in order"
