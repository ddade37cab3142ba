"""Evidence: what exactly is vouched for in a run's journal, and what a journal must show to be believed.

Intuition: a receipt opens a promotion, so it must still be possible years later to see who gave it, for which order,
and that nothing was changed since. An agent signs a *testimony*: its receipt together with the order it answers and
the digest of the journal's entry that the order rests on, which stands for all entries before it. The leader *seals*
the end. Both statements can be made again from the journal alone, by anybody, offline.

What this is not: keys and signatures (`engine.signing`), or the chain of digests (`engine.chain`).
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from evac.core.errors import IllegalEvent
from evac.core.estate import ComponentId, RegionId
from evac.core.fence import FORCED, OUT, unfenced
from evac.core.fold import apply
from evac.core.observation import Json
from evac.core.plan import Plan, Step, StepId, Term, Verb
from evac.core.run import Done, Event, Forced, Opened, Resumed, Run, RunId, Started


@dataclass(frozen=True, slots=True, kw_only=True)
class Testimony:
    """What an agent vouches for: what it was asked (`intent` is the digest of the journal's entry for it), and the
    `kind` and `facts` of the receipt it gave for that.
    """

    estate: str
    run: RunId
    step: StepId
    attempt: int
    undo: bool
    component: ComponentId
    region: RegionId
    verb: Verb
    term: Term
    intent: str
    kind: str
    facts: Mapping[str, Json]
    by: str
    wall: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """What the leader vouches for: this is the run's last entry. `entry` is the digest of that entry as it is written,
    but for the value of the signature itself; it holds the digest of the one before.
    """

    estate: str
    run: RunId
    entry: str
    by: str
    wall: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """What the leader vouches for: the person whom the run's second entry names gave it this word. `entry` is the
    digest of that entry as it is written, but for the value of the signature itself.
    """

    estate: str
    run: RunId
    entry: str
    by: str
    wall: datetime


Statement: TypeAlias = Testimony | Seal | Word


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """A promotion that was begun, and what it rests on: the kinds of receipt by region, or a person's word."""

    component: ComponentId
    region: RegionId
    term: Term
    rests_on: Mapping[RegionId, str]
    forced_by: str = ""
    """Whose word the journal holds for it, with a signature that holds; of an older evac, whom its plan names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What a journal's entries say when they are read again by the rules. `problems` are for a person."""

    run: Run | None
    terms: tuple[Term, ...]
    promotions: tuple[Promotion, ...]
    problems: tuple[str, ...]


def audit(events: Sequence[Event], *, vouched: Container[int]) -> Audit:
    """Return what the rules find in a journal: that each entry may follow the one before, that terms only grow (S2),
    and that every promotion was begun after receipts that prove the fence (S3). `vouched` has the numbers of the
    entries, the first being 1, whose signatures hold: other receipts prove nothing.

    Reading ends at the first entry that cannot follow, since nothing after it has a meaning.
    """
    run: Run | None = None
    kinds: dict[StepId, str] = {}
    terms: list[Term] = []
    promotions: list[Promotion] = []
    problems: list[str] = []
    word: Forced | None = None
    for number, event in enumerate(events, start=1):
        if run is not None and isinstance(event, Started) and (step := _promotion(run.plan, event)) is not None:
            promotions.append(_begun(run.plan, step, event, kinds, word))
            if why := unfenced(run.plan, step, kinds, word=word.components if word else ()):
                problems.append(f"entry {number}: {step.id} was begun without proof: {why}")
        try:
            run = apply(run, event)
        except IllegalEvent as error:
            problems.append(f"entry {number}: {error}")
            break
        if isinstance(event, Opened | Resumed):
            terms.append(run.term)
        if isinstance(event, Forced) and number in vouched:
            word = event
        if isinstance(event, Done) and not event.undo and number in vouched:
            kinds[event.step] = event.receipt.kind
    return Audit(run=run, terms=tuple(terms), promotions=tuple(promotions), problems=tuple(problems))


def _promotion(plan: Plan, event: Started) -> Step | None:
    """The step, if a promotion begins with this entry."""
    return next((s for s in plan.steps if s.id == event.step and s.pivot and not event.undo), None)


def _begun(plan: Plan, step: Step, event: Started, kinds: Mapping[StepId, str], word: Forced | None) -> Promotion:
    own = [s for s in plan.steps if s.action.component == step.action.component and s.id in kinds]
    return Promotion(
        component=step.action.component,
        region=step.action.region,
        term=event.term,
        rests_on={s.action.region: kinds[s.id] for s in own if kinds[s.id] in OUT | {"starved"}},
        forced_by=word.person
        if word and step.action.component in word.components
        else str(step.action.args.get(FORCED, "")),
    )
