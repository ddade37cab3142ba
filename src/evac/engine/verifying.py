"""Verifying a run from its record alone: the chain, every signature, and the rules, read again from the first entry.

Intuition: nothing of the estate, the store or the network is needed. The record holds the journal's entries as they
were written, byte for byte, and whose keys the store knows. What is checked is said, and so is everything that is
wrong. Whoever trusts the store can do with the keys in the record; whoever does not pins keys noted elsewhere.

A record on file is lines: a header, the entries, and a digest of all before it:

    {"estate":"shop","format":"evac run record 1","run":"7","signers":[…]}
    {…"before":"","is":"Opened"…}
    …
    {"sha256":"…"}

What this is not: a judge of whether the run was a good idea (`report`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from evac.core.errors import NotThere
from evac.core.evidence import Audit, Promotion, Seal, Statement, Testimony, Word, audit
from evac.core.plan import Plan, Term
from evac.core.run import Done, Event, Forced, Opened, Outcome, RunId, Settled, Signature, Started
from evac.engine.chain import Entry, digest, unlink
from evac.engine.codec import encode_plain, from_plain, plan_hash, to_plain
from evac.engine.journal import entry_key
from evac.engine.keys import is_genuine
from evac.engine.signing import KnownSigner, known_signers, sealed_entry
from evac.ports import Store

FORMAT = "evac run record 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run as it stands in the store. `damage` says what was found wrong in reading it."""

    estate: str
    run: RunId
    signers: tuple[KnownSigner, ...]
    entries: tuple[bytes, ...]
    damage: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """One signature that was checked, under an entry. `step` is empty for the seal, and for a person's word."""

    entry: int
    step: str
    kind: str
    by: str
    key: str
    holds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was checked and what was found. The run is as promised when there are no `problems`."""

    estate: str
    run: RunId
    entries: int
    linked: int
    outcome: Outcome | None
    terms: tuple[Term, ...]
    signatures: tuple[Signed, ...]
    promotions: tuple[Promotion, ...]
    words: tuple[Forced, ...]
    """The word of a person that promotions rest on: who, when, why, and what they were told."""
    keys: Mapping[str, tuple[str, ...]]
    """The public keys that signed, each with the regions the record knows it for."""
    pinned: bool
    problems: tuple[str, ...]

    @property
    def good(self) -> bool:
        return not self.problems


async def read_record(run: RunId, *, estate: str, store: Store) -> RunRecord:
    """Return a run's record from the store. Raises `NotThere` and `StoreUnavailable`."""
    records = await store.list(f"runs/{run}/")
    if not records:
        raise NotThere(f"there is no run {run}; evac runs lists them")
    amiss = next((n for n, r in enumerate(records, start=1) if r.key != entry_key(run, n)), None)
    return RunRecord(
        estate=estate,
        run=run,
        signers=await known_signers(store),
        entries=tuple(r.value for r in records),
        damage=(f"entry {amiss} is missing",) if amiss else (),
    )


def write_record(record: RunRecord) -> bytes:
    """Return a record as it is kept on file, ending with a line break."""
    signers = [to_plain(s) for s in record.signers]
    head = {"format": FORMAT, "estate": record.estate, "run": record.run, "signers": signers}
    body = b"".join(line + b"\n" for line in (encode_plain(head), *record.entries))
    return body + encode_plain({"sha256": digest(body)}) + b"\n"


def parse_record(data: bytes, *, name: str) -> RunRecord:
    """Return the record in a file's bytes; what else is not as it was written is noted as its damage.

    Raises `NotThere` when the file is none, or not even its first line can be read.
    """
    first, *lines = data.split(b"\n")
    try:
        head = json.loads(first)
        if head["format"] != FORMAT:
            raise ValueError(head["format"])
        record = RunRecord(
            estate=str(head["estate"]),
            run=RunId(str(head["run"])),
            signers=tuple([from_plain(s, KnownSigner) for s in head["signers"]]),
            entries=tuple(lines[:-2]),
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        raise NotThere(
            f"{name} is no record of a run, or its first line is damaged: evac report RUN --form record --out FILE"
            " writes one"
        ) from None
    if write_record(record) != data:
        record = replace(record, damage=("the file is not as it was written: its digest does not hold",))
    return record


def verify(record: RunRecord, *, pins: Collection[str] = ()) -> Verdict:
    """Return what a run's record proves. With `pins` (public keys) only what those have signed counts; without, the
    keys that the record itself knows, each for its regions.
    """
    problems = list(record.damage)
    entries = _read(record.entries, problems)
    linked = _follow_chain(record.entries, entries, problems)
    events = [e.event for e in entries]
    signatures = _check_signatures(record, events, pins, problems)
    found = _audit(record, events, vouched={s.entry for s in signatures if s.holds})
    problems += found.problems
    end = events[-1] if events and isinstance(events[-1], Settled) else None
    if end is None:
        problems.append("the journal is not sealed: the run is under way, or its end was cut off")
    known = {s.key: s.regions for s in record.signers}
    return Verdict(
        estate=record.estate,
        run=record.run,
        entries=len(record.entries),
        linked=linked,
        outcome=end.outcome if end else None,
        terms=found.terms,
        signatures=tuple(signatures),
        promotions=found.promotions,
        words=tuple(e for e in events if isinstance(e, Forced)),
        keys={s.key: known.get(s.key, ()) for s in signatures},
        pinned=bool(pins),
        problems=tuple(problems),
    )


def _read(written: Sequence[bytes], problems: list[str]) -> list[Entry]:
    """The entries up to the first that cannot be read."""
    entries: list[Entry] = []
    for number, line in enumerate(written, start=1):
        try:
            entries.append(unlink(line))
            if encode_plain(json.loads(line)) != line:
                problems.append(f"entry {number} is not as evac writes it")
        except (ValueError, RecursionError):
            problems.append(f"entry {number} cannot be read: it is damaged, or a newer evac wrote it")
            break
    return entries


def _follow_chain(written: Sequence[bytes], entries: Sequence[Entry], problems: list[str]) -> int:
    """Return how many entries hold the digest of the one before."""
    linked, before = 0, ""
    for number, (line, entry) in enumerate(zip(written, entries, strict=False), start=1):
        if entry.before is None:
            problems.append(f"entry {number} is not linked to the one before: evac kept no chain when it was written")
        elif entry.before != before:
            problems.append(f"entry {number} does not follow: the one before was changed, put in or taken out")
        else:
            linked += 1
        before = digest(line)
    return linked


def _check_signatures(
    record: RunRecord, events: Sequence[Event], pins: Collection[str], problems: list[str]
) -> list[Signed]:
    """Check each receipt's signature, and the seal."""
    if not events or not isinstance(events[0], Opened):
        return []
    plan = events[0].plan
    trust = _Trust(record=record, pins=frozenset(pins))
    started: dict[tuple[str, bool, int], tuple[Started, str]] = {}
    checked: list[Signed] = []
    for number, event in enumerate(events, start=1):
        if isinstance(event, Started):
            started[event.step, event.undo, event.attempt] = event, digest(record.entries[number - 1])
        elif isinstance(event, Done):
            intent = started.get((event.step, event.undo, event.attempt))
            statement = _testimony(plan, event, *intent, record=record) if intent is not None else None
            region = statement.region if statement is not None else ""
            what = f"the receipt of {event.step}" + (" (undo)" if event.undo else "")
            why = trust.doubt(event.signature, statement, region=region)
            checked += _signed(number, event.step, event.receipt.kind, event.signature, why)
            problems += [f"entry {number}: {what} {why}"] if why else []
        elif isinstance(event, Forced):
            why = trust.doubt(event.signature, _entire(Word, event, record=record, number=number), region="")
            checked += _signed(number, "", "forced", event.signature, why)
            problems += [f"entry {number}: the word of {event.person} {why}"] if why else []
        elif isinstance(event, Settled):
            why = trust.doubt(event.signature, _entire(Seal, event, record=record, number=number), region="")
            checked += _signed(number, "", "sealed", event.signature, why)
            problems += [f"entry {number}: the seal {why}"] if why else []
    return checked


def _signed(number: int, step: str, kind: str, signature: Signature | None, why: str) -> list[Signed]:
    if signature is None:
        return []
    return [Signed(entry=number, step=step, kind=kind, by=signature.by, key=signature.key, holds=not why)]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trust:
    """Whose signatures count."""

    record: RunRecord
    pins: frozenset[str]

    def doubt(self, signature: Signature | None, statement: Statement | None, *, region: str) -> str:
        """Return why a signature does not count, empty if it does. `region` is whose agent must have signed."""
        if signature is None:
            return "is not signed"
        if statement is None:
            return "answers no order"
        if not is_genuine(signature, statement):
            return f"is not what {signature.by} has signed, or it signed another run's"
        if signature.estate != self.record.estate:
            return f"was signed for another estate, {signature.estate}"
        if region and signature.by != region:
            return f"was signed by {signature.by}, not by {region}'s agent"
        if self.pins:
            return "" if signature.key in self.pins else f"was signed with a key that is not pinned, {signature.key}"
        known = [s for s in self.record.signers if s.key == signature.key and (not region or region in s.regions)]
        return "" if known else f"was signed with a key that the store does not know as {signature.by}'s"


def _testimony(plan: Plan, done: Done, started: Started, intent: str, *, record: RunRecord) -> Testimony | None:
    """What the agent must have signed; None if there is no such step, or no signature."""
    step = next((s for s in plan.steps if s.id == done.step), None)
    if step is None or done.signature is None:
        return None
    return Testimony(
        estate=done.signature.estate,
        run=record.run,
        step=done.step,
        attempt=done.attempt,
        undo=done.undo,
        component=step.action.component,
        region=step.action.region,
        verb=step.action.verb,
        term=started.term,
        intent=intent,
        kind=done.receipt.kind,
        facts=done.receipt.facts,
        by=done.signature.by,
        wall=done.signature.wall,
    )


def _entire(kind: type[Seal | Word], event: Settled | Forced, *, record: RunRecord, number: int) -> Seal | Word | None:
    """What the leader must have signed: the entry as a whole."""
    if event.signature is None:
        return None
    return kind(
        estate=event.signature.estate,
        run=record.run,
        entry=sealed_entry(record.entries[number - 1]),
        by=event.signature.by,
        wall=event.signature.wall,
    )


def _audit(record: RunRecord, events: Sequence[Event], *, vouched: Collection[int]) -> Audit:
    """Read the journal by the rules, if it is that of the run it is given as, with the plan that was pinned."""
    opened = events[0] if events else None
    why = ""
    if not isinstance(opened, Opened):
        why = "there is no journal, or its first entry is none of a run"
    elif opened.run != record.run:
        why = f"this is the journal of run {opened.run}, not of run {record.run}"
    elif plan_hash(opened.plan) != opened.plan_hash:
        why = "the plan is not the one whose hash was pinned when the run was opened"
    if not why:
        try:
            return audit(events, vouched=vouched)
        except (LookupError, AssertionError) as error:
            # Plans that evac makes are whole; one that was written by others need not be.
            why = f"the plan is none that evac makes ({error!r})"
    return Audit(run=None, terms=(), promotions=(), problems=(why,))
