"""What a verification finds: the honest run, and every way in which somebody could have told it differently."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from evac.core import evidence
from evac.core.errors import NotThere
from evac.core.run import Done, Event, Forced, Opened, Outcome, RunId, Settled, Started
from evac.engine.chain import digest, link, unlink
from evac.engine.codec import encode_plain, plan_hash
from evac.engine.signing import KnownSigner, sealed
from evac.engine.verifying import RunRecord, Verdict, parse_record, read_record, verify, write_record
from evac.sim import time
from evac.stores.memory import MemoryStore
from fakes.evidence import ESTATE, signed_run, signer_of
from fakes.shapes import Shape, shapes

FAILOVER = shapes()[0]
HONEST = signed_run(FAILOVER)
EVENTS = tuple(unlink(line).event for line in HONEST.entries)


def chained(events: tuple[Event, ...]) -> tuple[bytes, ...]:
    """Return entries whose chain is whole, as somebody would write them who can write to the store."""
    lines: list[bytes] = []
    for event in events:
        lines.append(link(event, before=digest(lines[-1]) if lines else ""))
    return tuple(lines)


def told(change: Callable[[Event], Event | None], *, seal: str = "") -> RunRecord:
    """Return the record retold: every entry changed (None: left out), the chain made anew, and, if `seal` names
    somebody, the end sealed anew by them.
    """
    events = [changed for event in EVENTS if (changed := change(event)) is not None]
    *before, end = events
    if seal and isinstance(end, Settled):
        last = digest(chained(tuple(before))[-1])
        end = sealed(end, signer_of(seal), run=HONEST.run, before=last, by="somebody")
    return replace(HONEST, entries=chained((*before, end)))


def problems(record: RunRecord, **given: Any) -> str:
    return "\n".join(verify(record, **given).problems)


@pytest.mark.parametrize("shape", shapes(), ids=lambda shape: shape.name)
def test_every_plan_that_evac_makes_can_be_verified(shape: Shape) -> None:
    record = signed_run(shape)
    verdict = verify(record)
    assert verdict.good, verdict.problems
    assert verdict.linked == verdict.entries == len(record.entries)
    assert len(verdict.signatures) == len(shape.plan.steps) + 1, "every receipt, and the seal"
    assert {p.component for p in verdict.promotions} == {s.action.component for s in shape.plan.steps if s.pivot}
    assert all(p.rests_on for p in verdict.promotions)
    assert verdict.outcome is Outcome.COMPLETED
    assert parse_record(write_record(record), name="a file") == record


def test_a_record_can_be_verified_after_many_ways_through_a_file() -> None:
    written = write_record(HONEST)
    assert write_record(parse_record(written, name="a file")) == written
    assert all(json.loads(line) for line in written.splitlines())


def test_a_receipt_retold_is_not_what_was_signed() -> None:
    def kinder(event: Event) -> Event:
        return replace(event, receipt=replace(event.receipt, facts={})) if isinstance(event, Done) else event

    found = verify(told(kinder, seal="us-east-1"))
    assert not [s for s in found.signatures if s.holds and s.step]
    said = "\n".join(found.problems)
    assert "the receipt of refuse:orders-db@us-west-2 is not what us-west-2 has signed" in said
    assert "promote:orders-db@us-west-2 was begun without proof" in said


def test_a_decision_retold_is_found_by_every_receipt_that_came_after() -> None:
    def other(event: Event) -> Event:
        return replace(event, decided_by="bob") if isinstance(event, Opened) else event

    found = verify(told(other, seal="us-east-1"))
    assert found.linked == found.entries, "the chain alone does not show it"
    assert [s.step for s in found.signatures if s.holds] == [""]


def test_a_fence_that_was_put_in_proves_nothing() -> None:
    """Receipts without a signature of the agent's do not open a promotion."""

    def unsigned(event: Event) -> Event:
        return replace(event, signature=None) if isinstance(event, Done) else event

    said = problems(told(unsigned, seal="us-east-1"))
    assert "the receipt of refuse:orders-db@us-west-2 is not signed" in said
    assert "was begun without proof: orders-db in us-east-1 is not starved: 0 of" in said


def test_a_receipt_belongs_to_its_region() -> None:
    """Somebody with the key of another region's agent cannot speak for this one's."""
    verdict = verify(replace(HONEST, signers=tuple(replace(s, regions=("us-east-1",)) for s in HONEST.signers)))
    assert "does not know as us-west-2's" in "\n".join(verdict.problems)

    def by_another(event: Event) -> Event:
        if not isinstance(event, Done) or event.signature is None:
            return event
        return replace(event, signature=replace(event.signature, by="us-east-1"))

    assert "is not what us-east-1 has signed" in problems(told(by_another))


def test_an_agent_cannot_answer_for_another_region() -> None:
    """An agent signs in its own name what another region's was asked: genuine, and worth nothing."""
    number = next(n for n, event in enumerate(EVENTS) if isinstance(event, Done))
    done = EVENTS[number]
    assert isinstance(done, Done)
    step = FAILOVER.plan.step(done.step)
    asked = next(n for n, e in enumerate(EVENTS) if isinstance(e, Started) and e.step == done.step)
    signer = signer_of("us-east-1")
    said = evidence.Testimony(
        estate=ESTATE,
        run=HONEST.run,
        step=done.step,
        attempt=done.attempt,
        undo=done.undo,
        component=step.action.component,
        region=step.action.region,
        verb=step.action.verb,
        term=FAILOVER.plan.term,
        intent=digest(HONEST.entries[asked]),
        kind=done.receipt.kind,
        facts=done.receipt.facts,
        by="us-east-1",
        wall=datetime(2026, 1, 1, tzinfo=UTC),
    )
    forged = replace(done, signature=signer.sign(said))
    record = told(lambda event: forged if event is done else event)
    assert f"was signed by us-east-1, not by {step.action.region}'s agent" in problems(record)


def test_a_key_that_the_store_does_not_know_does_not_count() -> None:
    assert "a key that the store does not know as us-west-2's" in problems(replace(HONEST, signers=()))


def test_what_is_pinned_alone_counts() -> None:
    keys = {name: signer_of(name).public for name in ("us-east-1", "us-west-2", "eu-west-1")}
    unknown = replace(HONEST, signers=())
    assert verify(unknown, pins=keys.values()).good
    assert verify(unknown, pins=keys.values()).pinned
    few = verify(HONEST, pins=[keys["us-east-1"], keys["us-west-2"]])
    assert f"not pinned, {keys['eu-west-1']}" in "\n".join(few.problems)


def test_a_run_of_another_estate_does_not_count() -> None:
    assert "was signed for another estate, shop" in problems(replace(HONEST, estate="shoe-shop"))


def test_a_journal_given_as_another_runs_is_found() -> None:
    said = problems(replace(HONEST, run=RunId("8")))
    assert "this is the journal of run 1, not of run 8" in said
    assert "the seal is not what a leader has signed, or it signed another run's" in said


def test_an_end_that_was_cut_off_is_missed() -> None:
    found = verify(replace(HONEST, entries=HONEST.entries[:-1]))
    assert found.problems == ("the journal is not sealed: the run is under way, or its end was cut off",)
    assert found.outcome is None


def test_an_end_that_was_told_anew_needs_a_known_leader() -> None:
    def cut(event: Event) -> Event | None:
        return replace(event, reasons=("all is well",)) if isinstance(event, Settled) else event

    assert "the seal is not what" in problems(told(cut))
    assert "the seal was signed with a key that the store does not know" in problems(told(cut, seal="mallory"))

    def bare(event: Event) -> Event:
        return replace(event, signature=None) if isinstance(event, Settled) else event

    assert problems(told(bare)) == f"entry {len(EVENTS)}: the seal is not signed"


@pytest.mark.parametrize("gone", [0, 1, 5, len(EVENTS) - 2])
def test_an_entry_that_was_taken_out_is_missed(gone: int) -> None:
    entries = HONEST.entries[:gone] + HONEST.entries[gone + 1 :]
    assert f"entry {gone + 1} does not follow" in problems(replace(HONEST, entries=entries))


def test_an_entry_that_cannot_follow_ends_the_reading() -> None:
    assert "needs" not in problems(HONEST)
    twice = told(lambda event: event)
    settled_twice = replace(twice, entries=chained((*EVENTS, EVENTS[-1])))
    assert "Settled cannot follow" in problems(settled_twice)


def test_an_answer_to_no_order_is_found() -> None:
    def unordered(event: Event) -> Event | None:
        return None if isinstance(event, Started) and event.step.startswith("verify") else event

    said = problems(told(unordered))
    assert "answers no order" in said
    assert "has no try 1 under way" in said

    def of_no_step(event: Event) -> Event:
        return replace(event, step=type(event.step)("nothing")) if isinstance(event, Started | Done) else event

    assert "the receipt of nothing answers no order" in problems(told(of_no_step))


def test_a_plan_that_is_not_the_pinned_one_is_found() -> None:
    def longer(event: Event) -> Event:
        return replace(event, plan=replace(event.plan, notes=("x",))) if isinstance(event, Opened) else event

    assert "the plan is not the one whose hash was pinned" in problems(told(longer))


def test_a_plan_that_makes_no_sense_is_found() -> None:
    def torn(event: Event) -> Event:
        if not isinstance(event, Opened):
            return event
        step = replace(event.plan.steps[0], needs=(type(event.plan.steps[0].id)("nothing"),))
        plan = replace(event.plan, steps=(step, *event.plan.steps[1:]))
        return replace(event, plan=plan, plan_hash=plan_hash(plan))

    assert "the plan is none that evac makes (KeyError" in problems(told(torn))


def test_a_promotion_on_a_persons_word_names_the_person() -> None:
    steps = tuple(
        replace(s, action=replace(s.action, args={**s.action.args, "word": "alice"})) if s.pivot else s
        for s in FAILOVER.plan.steps
    )
    record = signed_run(replace(FAILOVER, plan=replace(FAILOVER.plan, steps=steps)))
    verdict = verify(record)
    assert verdict.good
    assert {p.forced_by for p in verdict.promotions} == {"alice"}
    assert [w.person for w in verdict.words] == ["alice"]
    assert [s.kind for s in verdict.signatures].count("forced") == 1
    events = [unlink(line).event for line in record.entries]

    def retold(change: Callable[[Forced], Forced | None]) -> str:
        kept = [change(e) if isinstance(e, Forced) else e for e in events]
        return problems(replace(record, entries=chained(tuple(e for e in kept if e is not None))))

    assert "the word of alice is not what a leader has signed" in retold(lambda w: replace(w, risks=("none at all",)))
    unsigned = retold(lambda w: replace(w, signature=None))
    assert "entry 2: the word of alice is not signed" in unsigned
    assert "begun without proof: the word of alice, which it is to rest on, is not in the journal" in unsigned
    assert "is not in the journal" in retold(lambda _: None)


@pytest.mark.parametrize("entries", [(), (HONEST.entries[3],), (b"{}",), (b"[]",), (b"\xff",)])
def test_what_is_no_journal_is_none(entries: tuple[bytes, ...]) -> None:
    assert "there is no journal" in problems(replace(HONEST, entries=entries))


def test_an_entry_that_cannot_be_read_ends_the_reading() -> None:
    entries = (*HONEST.entries[:4], b'{"is":"Whatever"}', *HONEST.entries[5:])
    found = verify(replace(HONEST, entries=entries))
    assert "entry 5 cannot be read" in "\n".join(found.problems)
    assert (found.entries, found.linked) == (len(entries), 4)


def test_an_entry_in_another_spelling_is_found() -> None:
    spelled = json.dumps(json.loads(HONEST.entries[-1])).encode()
    assert "is not as evac writes it" in problems(replace(HONEST, entries=(*HONEST.entries[:-1], spelled)))


def test_a_run_of_before_the_chain_is_not_vouched_for() -> None:
    old = tuple(encode_plain({k: v for k, v in json.loads(e).items() if k != "before"}) for e in HONEST.entries)
    assert [unlink(line).before for line in old] == [None] * len(old)
    verdict = verify(replace(HONEST, entries=old))
    assert verdict.linked == 0
    assert "entry 1 is not linked to the one before: evac kept no chain when it was written" in verdict.problems


def test_a_gap_in_the_store_is_told() -> None:
    async def tell() -> Verdict:
        store = MemoryStore()
        with pytest.raises(NotThere, match="there is no run 1"):
            await read_record(HONEST.run, estate=ESTATE, store=store)
        keyed: Mapping[str, bytes] = {f"runs/1/{n:06d}": e for n, e in enumerate(HONEST.entries, 1) if n != 3}
        await store.commit(expect={}, put=keyed)
        return verify(await read_record(HONEST.run, estate=ESTATE, store=store))

    assert "entry 3 is missing" in time.run(tell()).problems


@pytest.mark.parametrize(
    "data",
    [b"", b"\n", b"what\n", b"[]\n", b"7\n", b'{"format":"evac run record 2"}\n', b'{"format":"evac run record 1"}\n'],
)
def test_what_is_no_record_is_refused(data: bytes) -> None:
    with pytest.raises(NotThere, match=r"a\.jsonl is no record of a run"):
        parse_record(data, name="a.jsonl")


def test_a_signer_added_to_the_file_is_found() -> None:
    forged = KnownSigner(
        key=signer_of("mallory").public, regions=("us-west-2",), since=datetime(2026, 1, 1, tzinfo=UTC)
    )
    first, *rest = write_record(replace(HONEST, signers=(*HONEST.signers, forged))).split(b"\n")
    kept = write_record(HONEST).split(b"\n")[1:]
    assert rest[:-2] == kept[:-2]
    assert "not as it was written" in problems(parse_record(b"\n".join((first, *kept)), name="a.jsonl"))
