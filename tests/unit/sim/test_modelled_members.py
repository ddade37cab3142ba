"""Modelled members: what they refuse is what the real driver refuses."""

from __future__ import annotations

from random import Random

import pytest

from evac.core.errors import Rejected, Unavailable
from evac.core.observation import MemberRole
from evac.core.plan import Action, Term, Verb
from evac.sim.databases import Database, Databases
from evac.sim.estates import EAST, ORDERS_DB, WEST
from evac.sim.members import Member
from evac.sim.network import Network
from evac.sim.time import run, sleep


@pytest.fixture
def world() -> Databases:
    """A primary in us-east-1 and a standby in us-west-2."""
    network = Network(regions=(EAST, WEST), one_way={frozenset((EAST, WEST)): 0.03}, random=Random(0))
    world = Databases(network=network, random=Random(0))
    for region in (EAST, WEST):
        world.nodes[ORDERS_DB, region] = Database(ORDERS_DB, region, world)
    world.nodes[ORDERS_DB, EAST].role = MemberRole.PRIMARY
    return world


async def _stop_cleanly(world: Databases, *, streams: bool = True, frozen: bool = False) -> None:
    primary, standby = world.nodes[ORDERS_DB, EAST], world.nodes[ORDERS_DB, WEST]
    standby.turn_to(EAST)
    primary.start()
    standby.start()
    await sleep(1.0)
    if not streams:
        standby.turn_to(None)
    if frozen:
        assert primary.process is not None
        primary.process.freeze()
    args = {"mode": "clean", "target": WEST}
    stop = Action(component=ORDERS_DB, region=EAST, verb=Verb.STOP, term=Term(2), args=args)
    await Member(node=primary, world=world, changed=lambda _: None).do(stop)


def test_a_clean_stop_waits_for_its_target_and_stops(world: Databases) -> None:
    run(_stop_cleanly(world))
    primary = world.nodes[ORDERS_DB, EAST]
    assert (primary.role, primary.term, primary.process) == (MemberRole.STOPPED, 2, None)


def test_without_a_stream_to_its_target_nothing_is_stopped(world: Databases) -> None:
    with pytest.raises(Rejected, match="us-west-2 does not stream from us-east-1: nothing is stopped"):
        run(_stop_cleanly(world, streams=False))
    primary = world.nodes[ORDERS_DB, EAST]
    assert (primary.role, primary.term) == (MemberRole.PRIMARY, 1)


def test_a_server_that_does_not_answer_is_not_stopped_cleanly(world: Databases) -> None:
    with pytest.raises(Unavailable, match="did not say whether us-west-2 streams from it"):
        run(_stop_cleanly(world, frozen=True))
    assert world.nodes[ORDERS_DB, EAST].role is MemberRole.PRIMARY
