"""A move that nothing but a person's word opens: the word is in the journal, with all that was told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evac.core.decision import CallPerson
from evac.core.errors import UnsafePlan
from evac.core.evidence import audit
from evac.core.plan import Plan
from evac.core.run import Opened
from evac.core.snapshot import Snapshot, Wish
from evac.engine.codec import encode
from evac.engine.journal import read_runs
from evac.report.value import report_of
from evac.sim import time
from evac.sim.estates import EAST, WEST, shop
from evac.stores.memory import MemoryStore
from fakes.embedded import World, calm, embedded
from fakes.journals import asynchronous_failover, estate
from fakes.opening import open_run


def at_west(snapshot: Snapshot) -> bool:
    return snapshot.placements[0].primary == WEST and not snapshot.active


def test_a_person_who_accepts_a_loss_is_in_the_journal_before_anything_is_promoted() -> None:
    shown = ("risk: the last 2 s are lost",)
    world = World(estate=shop(acks=0, cache_acks=0))

    async def whole() -> None:
        async with embedded(world) as on:
            await on.until(calm)
            on.world.lose(EAST)
            await on.until(lambda s: any(isinstance(d, CallPerson) for d in s.decisions))
            reply = await on.ask(Wish.FAILOVER, region=EAST, accept_loss=True, told=shown, reason="it burns")
            assert reply.run is not None, reply.refused
            await on.until(at_west)

    time.run(whole())
    (run, *_) = time.run(read_runs(world.store))
    assert run.forced is not None
    assert (run.forced.person, run.forced.told, run.forced.reason) == ("alice", shown, "asked for by alice: it burns")
    assert set(run.forced.components) == {s.action.component for s in run.plan.steps if s.pivot}
    first, *lost = run.forced.risks
    assert "nothing proves it stopped: us-east-1 may write on" in first
    assert any(line.startswith("lost of orders-db: ") for line in lost)


def test_a_run_forced_before_words_were_kept_is_read_judged_and_told_as_it_was_then() -> None:
    first, _, *rest = asynchronous_failover()
    assert isinstance(first, Opened)
    events = (replace(first, plan=unkept(first.plan)), *rest)
    found = audit(events, vouched=range(1, len(events) + 1))
    assert not found.problems
    assert [p.forced_by for p in found.promotions] == ["alice"]
    report = report_of(events, estate=estate())
    assert "orders-db was promoted without a fence, on the responsibility of alice" in report.findings


def test_no_run_is_opened_any_more_on_a_word_without_a_receipt() -> None:
    first = asynchronous_failover()[0]
    assert isinstance(first, Opened)

    async def opening() -> None:
        store, clock, group = MemoryStore(), time.VirtualClock(), first.plan.group
        await store.commit(expect={}, put={f"placement/{group}": encode(first.plan.before)})
        with pytest.raises(UnsafePlan, match="a word without a receipt"):
            await open_run(
                unkept(first.plan), store=store, clock=clock, decided_by="alice", symptom_at=clock.now(), decision={}
            )

    time.run(opening())


def unkept(plan: Plan) -> Plan:
    """The plan as an evac that kept no receipt of the word wrote it."""
    steps = [
        replace(s, action=replace(s.action, args={**s.action.args, "word": "", "forced": "alice"})) if s.pivot else s
        for s in plan.steps
    ]
    return replace(plan, steps=tuple(steps))
