"""A silent peer is switched off: the device's word opens the promotion, its order does not. In virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from evac.core.errors import DriverError, Indeterminate, Rejected, Unavailable
from evac.core.estate import ComponentId
from evac.core.plan import Action, Term, Verb
from evac.engine.switching import Switch, SwitchingMember
from evac.ports import Truth
from evac.sim import time
from evac.sim.estates import EAST, EUROPE, WEST
from fakes.leashes import Server
from fakes.lines import CLOCK


@dataclass(slots=True)
class Plug:
    """A device (`Device`) whose host is off some time after it was told to."""

    takes: timedelta = timedelta(seconds=2)
    refuses: DriverError | None = None
    mute: DriverError | None = None
    told_at: list[timedelta] = field(default_factory=list)

    async def switch_off(self) -> None:
        self.told_at.append(CLOCK.now())
        if self.refuses:
            raise self.refuses

    async def says_off(self) -> bool:
        if self.mute:
            raise self.mute
        return bool(self.told_at) and CLOCK.now() - self.told_at[0] >= self.takes


def member(plug: Plug, server: Server | None = None) -> SwitchingMember:
    switch = Switch(device=plug, poll=timedelta(milliseconds=500), within=timedelta(seconds=10))
    return SwitchingMember(server or Server(), switches={EAST: switch}, clock=CLOCK)


def order(verb: Verb = Verb.SWITCH_OFF, old: str = EAST) -> Action:
    return Action(component=ComponentId("db"), region=WEST, verb=verb, term=Term(2), args={"old": old})


def told(story: Callable[[], Awaitable[None]]) -> None:
    async def tell() -> None:
        await story()

    time.run(tell())


def test_the_devices_word_is_the_receipt() -> None:
    async def story() -> None:
        plug = Plug()
        receipt = await member(plug).do(order())
        assert receipt.kind == "device"
        assert receipt.facts == {"switched_off": EAST, "waited_s": 2.0}
        again = await member(plug).do(order())
        assert again.facts == {"switched_off": EAST, "waited_s": 0.0}
        seen = await member(plug).holds(order())
        assert seen.truth is Truth.YES
        assert seen.receipt is not None
        assert seen.receipt.kind == "device"

    told(story)


def test_an_order_that_is_not_confirmed_is_no_receipt_and_may_have_happened() -> None:
    async def story() -> None:
        with pytest.raises(Indeterminate, match="10 s ago: it does not say that it is off"):
            await member(Plug(takes=timedelta(hours=1))).do(order())
        with pytest.raises(Indeterminate, match="10 s ago: no route"):
            await member(Plug(mute=Unavailable("no route"))).do(order())

    told(story)


def test_an_order_without_an_answer_is_asked_after() -> None:
    async def story() -> None:
        assert (await member(Plug(refuses=Indeterminate("no answer"))).do(order())).kind == "device"
        with pytest.raises(Indeterminate, match="no answer"):
            await member(Plug(takes=timedelta(hours=1), refuses=Indeterminate("no answer"))).do(order())

    told(story)


def test_an_order_that_was_refused_has_not_happened() -> None:
    async def story() -> None:
        for refusal in (Rejected("HTTP 403"), Unavailable("HTTP 503")):
            with pytest.raises(type(refusal)):
                await member(Plug(refuses=refusal)).do(order())
        with pytest.raises(Rejected, match="no device for eu-west-1"):
            await member(Plug()).do(order(old=EUROPE))

    told(story)


def test_a_look_asks_the_device_and_tells_it_nothing() -> None:
    async def story() -> None:
        plug = Plug()
        assert (await member(plug).holds(order())).truth is Truth.NO
        plug.mute = Unavailable("no route")
        assert (await member(plug).holds(order())).truth is Truth.UNKNOWN
        assert plug.told_at == []

    told(story)


def test_a_check_says_whether_the_device_answers() -> None:
    async def story() -> None:
        plug = Plug()
        (on,) = await member(plug).check()
        assert on.ok
        assert on.what == "the device for us-east-1 answers: its host is not off"
        plug.told_at.append(CLOCK.now() - timedelta(hours=1))
        (off,) = await member(plug).check()
        assert off.what.endswith("its host is off")
        plug.mute = Unavailable("no route")
        (silent,) = await member(plug).check()
        assert not silent.ok
        assert "no route" in silent.what

    told(story)


def test_all_else_is_the_members_own() -> None:
    async def story() -> None:
        server = Server()
        here = member(Plug(), server)
        assert (await here.observe()).role is server.role
        assert (await here.holds(order(Verb.FOLLOW))).truth is Truth.NO
        await here.do(order(Verb.FOLLOW))
        await here.undo(order(Verb.FOLLOW))
        assert server.did == [Verb.FOLLOW, Verb.FOLLOW]
        await here.close()
        assert server.silent

    told(story)
