"""A trigger from the estate file to the run it asks for, in the embedded form on modelled systems."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from evac.config import load
from evac.core.decision import Ask, CallPerson, Hold
from evac.core.errors import UnsafePlan
from evac.core.estate import ComponentId, Estate, GroupId
from evac.core.plan import Plan, RunKind
from evac.core.run import Event, Opened, Outcome
from evac.core.snapshot import Snapshot, Wish
from evac.core.triggers import worst_first
from evac.core.trying import TRIES_MAX
from evac.engine.codec import decode, encode
from evac.engine.journal import read_journal, read_runs
from evac.engine.snapshots import TRIGGERS_MAX
from evac.report.lines import run_lines
from evac.report.value import report_of
from evac.sim import time
from evac.sim.estates import EAST, GROUP, WEST, shop
from fakes.embedded import World, calm, embedded
from fakes.kinds import DRIVERS, PROBES
from fakes.triggers import trigger

VALID = (Path(__file__).parents[2] / "golden" / "estates" / "valid.yaml").read_text()
DATABASE = ComponentId("orders-db")
MOVES = """
triggers:
  always:
    when: region.availability > 0.9 && components.orders_db.writable
    for: 30s
    action: failover
    severity: critical
    says: all is well, which is a reason to move
    regions: [us-east-1]
"""


def loaded(tmp_path: Path, triggers: str) -> Estate:
    """Return the estate that a file declares, asked by a probe that the model knows."""
    file = tmp_path / "estate.yaml"
    file.write_text(VALID + triggers)
    file.chmod(0o600)
    estate = load(file, environ={}, drivers=DRIVERS, probes=PROBES).estate
    return replace(estate, probes=tuple(replace(probe, kind="http") for probe in estate.probes))


def events(world: World) -> list[list[Event]]:
    """Every run's journal."""

    async def read() -> list[list[Event]]:
        return [[*await read_journal(run.id, store=world.store)] for run in await read_runs(world.store)]

    return time.run(read())


def at_west(seen: Snapshot) -> bool:
    return calm(seen) and seen.placements[0].primary == WEST


def test_a_trigger_of_the_file_moves_the_group_and_the_journal_says_why(tmp_path: Path) -> None:
    world = World(estate=loaded(tmp_path, MOVES + "    automatic: true\n"))

    async def play() -> None:
        began = world.clock.now()
        async with embedded(world) as on:
            seen = await on.until(lambda s: s.triggers and s.triggers[0].true)
            assert isinstance(seen.decisions[0], Hold)
            await on.until(at_west)
            assert world.clock.now() - began > timedelta(seconds=30)
            assert world.systems.writers(DATABASE) == [WEST]
            await on.until(lambda s: not s.triggers)  # it looks after us-east-1 only
            assert set(on.controller.known.each(lambda m: m.urged_at)) == {GroupId("orders")}
            assert on.controller.known.each(lambda m: m.last_move_at) == {}, "a loss that follows is acted on at once"

    time.run(play())
    assert world.systems.violations == []
    (journal,) = events(world)
    opened = journal[0]
    assert isinstance(opened, Opened)
    assert (opened.plan.kind, opened.decided_by) == (RunKind.SWITCHOVER, "evac")
    told = opened.decision["trigger"]
    assert isinstance(told, dict)
    assert (told["trigger"], told["severity"]) == ("always", "critical")
    assert told["when"] == "region.availability > 0.9 && components.orders_db.writable"
    report = report_of(journal, estate=world.estate)
    assert report.outcome is Outcome.COMPLETED
    assert report.reasons[1] == "all is well, which is a reason to move"
    assert {(s.view, s.why) for s in report.sights} == {
        ("true", "region.availability 1, components.orders_db.writable true")
    }
    assert any("always" in line.text for line in run_lines(journal, estate=world.estate))


def test_one_that_asks_waits_for_approval(tmp_path: Path) -> None:
    world = World(estate=loaded(tmp_path, MOVES))

    async def play() -> None:
        async with embedded(world) as on:
            seen = await on.until(lambda s: s.decisions and isinstance(s.decisions[0], Ask))
            assert seen.decisions[0].reasons[-1] == "trigger always asks before it acts"
            reply = await on.ask(Wish.APPROVE)
            assert reply.refused == ()
            await on.until(at_west)

    time.run(play())
    assert [type(journal[0]) for journal in events(world)] == [Opened]


def test_whoever_leads_next_counts_anew() -> None:
    estate = shop()
    estate = replace(estate, triggers=(trigger(estate, "region.availability > 0.9", lasting=30),))
    world = World(estate=estate)

    async def play() -> None:
        for _ in range(3):
            async with embedded(world) as on:
                await on.until(calm)
                await asyncio.sleep(20)
                (standing,) = on.controller.known.triggers.standings[GROUP]
                assert timedelta() < standing.held < timedelta(seconds=25)
        async with embedded(world) as on:
            await on.until(at_west)

    time.run(play())
    assert len(events(world)) == 1


def test_after_a_restart_the_move_it_asked_for_still_holds_it_back() -> None:
    estate = shop()
    estate = replace(estate, triggers=(trigger(estate, "region.availability > 0.9", lasting=10),))
    world = World(estate=estate)

    async def play() -> None:
        async with embedded(world) as on:
            await on.until(at_west)
        async with embedded(world) as on:
            seen = await on.until(lambda s: s.decisions and isinstance(s.decisions[0], CallPerson))
            assert any("nothing that a trigger asks for" in reason for reason in seen.decisions[0].reasons)
            assert seen.placements[0].primary == WEST

    time.run(play())


def test_what_is_known_of_triggers_is_in_the_snapshot_and_of_many_the_worst() -> None:
    estate = shop()
    false = tuple(trigger(estate, "region.availability < 0.5", name=f"no-{i}") for i in range(TRIGGERS_MAX))
    estate = replace(estate, triggers=(*false, trigger(estate, "region.availability > 0.5", name="yes", lasting=900)))

    async def play() -> Snapshot:
        async with embedded(World(estate=estate)) as on:
            return await on.until(lambda s: s.triggers and s.triggers[0].true)

    seen = time.run(play())
    assert [s.trigger for s in seen.triggers][:2] == ["yes", "no-0"]
    assert len(seen.triggers) == TRIGGERS_MAX
    assert decode(encode(seen), Snapshot) == seen
    assert list(worst_first({GROUP: seen.triggers})) == list(seen.triggers)


def test_a_trigger_that_no_plan_can_follow_keeps_no_lost_region_from_being_left() -> None:
    estate = shop()
    world = World(estate=replace(estate, triggers=(trigger(estate, "region.availability > 0.9", lasting=10),)))

    def unsafe(decision: object, assessment: object) -> Plan:
        raise UnsafePlan(("the moon is full",))

    async def play() -> None:
        async with embedded(world) as on:
            on.controller.plan = unsafe  # type: ignore[method-assign]
            await on.until(
                lambda s: (
                    GROUP in (tries := on.controller.known.each(lambda m: m.urge_tries))
                    and tries[GROUP].count >= TRIES_MAX
                )
            )
            assert on.controller.known.each(lambda m: m.tries) == {}
            del on.controller.plan
            await on.until(lambda s: isinstance(s.decisions[0], CallPerson))
            world.lose(EAST)
            await on.until(lambda s: s.placements[0].primary == WEST and not s.active)

    time.run(play())
    assert world.systems.violations == []


def test_a_lost_region_is_left_as_ever_whatever_triggers_say() -> None:
    estate = shop()
    estate = replace(estate, triggers=(trigger(estate, "region.availability < 0.5", lasting=30),))
    world = World(estate=estate)

    async def play() -> None:
        async with embedded(world) as on:
            await on.until(calm)
            world.lose(EAST)
            await on.until(lambda s: s.placements[0].primary == WEST and not s.active)

    time.run(play())
    opened = events(world)[0][0]
    assert isinstance(opened, Opened)
    assert (opened.plan.kind, opened.decision["trigger"]) == (RunKind.FAILOVER, None)
