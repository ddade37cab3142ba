"""How the triggers stand: whether each is true of each group, since when, and on whose word.

Intuition: an expression is a question that is put to each vantage point outside the region that holds the group's
primaries, over what that one sees. It is true when as many say so as a verdict takes (`assessment.quorum`), false as
soon as so many deny it that this cannot be, and else unknown: nobody can write an expression that a minority's view
makes true (S11). What members and agents say of themselves is the same in every question, and still nothing is true
that fewer than a quorum have asked about.

Only time that was seen to be true counts. What is unknown neither fires nor clears: the count stands still, and begins
anew when it has stood for as long as it had to last. It also begins anew when the primaries have moved, when evac has
not looked for a while, and with a new leader: then a trigger fires later than it might, never sooner.

What this is not: what is done about it (`urging`), or the expressions' language (`evac.config.conditions`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from evac.core.assessment import quorum
from evac.core.detector import Detector
from evac.core.estate import Estate, GroupId, RegionId
from evac.core.facts import Availability, Ground, Times, availability, fact_of, read, sample
from evac.core.observation import Instant
from evac.core.plan import Placement
from evac.core.scene import stale_after
from evac.core.sights import Sight
from evac.core.trigger import Action, Named, Scope, Severity, Trigger, Value
from evac.core.verdict import Assessment, Evidence

EVERY = timedelta(seconds=0.5)
"""The questions are put so often at most."""
EVERY_EACH = timedelta(milliseconds=2)
"""And no sooner than so much time for each of them, a trigger and a group, so that a large estate is asked less often
rather than its leader being kept busy."""
GAP_MAX = timedelta(seconds=5)
"""What has not been looked at for so long, and for three turns, is counted anew."""
VIEWS: Mapping[bool | None, str] = {True: "true", False: "false", None: "unknown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fired:
    """What a decision that a trigger asked for rests on, beside the views in its evidence."""

    trigger: str
    when: str
    severity: Severity
    since: Instant
    held: timedelta
    lasting: timedelta
    rto: timedelta | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How one trigger stands for one group, whose primaries are in `region`."""

    trigger: str
    group: GroupId
    region: RegionId
    when: str
    action: Action
    severity: Severity
    automatic: bool
    lasting: timedelta
    rto: timedelta | None
    says: str
    true: bool | None
    """None: nobody can tell, for the reasons in `sights`."""
    since: Instant
    """Since when it has been so."""
    held: timedelta
    """For how long it has been seen to be true, all told, since it was seen to be false."""
    true_at: Instant | None
    """When it became true, if it has not been seen to be false since."""
    fired: bool
    """Whether it has been true for long enough, and not been seen to be false since."""
    sights: tuple[Evidence, ...]
    """What each vantage point says, and which facts it says that of."""

    @property
    def acts(self) -> bool:
        """Return whether it asks for its action now: it is true at this moment, and has been for long enough."""
        return self.true is True and self.held >= self.lasting

    @property
    def left(self) -> timedelta:
        """Return for how long it must yet be seen to be true."""
        return max(self.lasting - self.held, timedelta())

    def as_fired(self) -> Fired:
        """Return what a decision keeps of it."""
        assert self.true_at is not None, "what has fired became true at some time"
        return Fired(
            trigger=self.trigger,
            when=self.when,
            severity=self.severity,
            since=self.true_at,
            held=self.held,
            lasting=self.lasting,
            rto=self.rto,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Triggers:
    """How all of them stood when they were last looked at."""

    at: Instant | None = None
    standings: Mapping[GroupId, tuple[Standing, ...]] = field(default_factory=dict)
    """By group, in the order they are declared in."""
    times: Times = field(default_factory=dict)


def advance(
    before: Triggers,
    *,
    detector: Detector,
    assessment: Assessment,
    estate: Estate,
    placements: Mapping[GroupId, Placement],
) -> Triggers:
    """Return how the triggers stand at the assessment's moment; as before, if that is hardly any later."""
    now = assessment.at
    every = max(EVERY, EVERY_EACH * sum(len(trigger.groups) for trigger in estate.triggers))
    if not estate.triggers or (before.at is not None and now - before.at < every):
        return before
    gap = now - before.at if before.at is not None else None
    goes_on = gap is not None and gap <= max(GAP_MAX, 3 * every)
    times = sample(before.times, detector, _timed(estate, placements), now=now)
    asking = _Asking(
        detector=detector,
        assessment=assessment,
        estate=estate,
        times=times,
        available=availability(detector, now=now) if _reads(estate, "availability") else {},
    )
    standings: dict[GroupId, tuple[Standing, ...]] = {}
    for group, placement in placements.items():
        known = {s.trigger: s for s in before.standings.get(group, ())} if goes_on else {}
        mine = [t for t in estate.triggers if group in t.groups and placement.primary in t.regions]
        found = (_goes_on(known.get(t.name), asking.ask(t, group, placement.primary), gap) for t in mine)
        if standing := tuple(found):
            standings[group] = standing
    return Triggers(at=now, standings=standings, times=times)


def _reads(estate: Estate, fact: str) -> bool:
    return any(named.fact == fact for trigger in estate.triggers for named in trigger.reads)


def _timed(estate: Estate, placements: Mapping[GroupId, Placement]) -> Iterator[Sight]:
    """The views whose response times are asked for."""
    for group, placement in placements.items():
        wanted = {
            service.id
            for trigger in estate.triggers
            if group in trigger.groups
            for named in trigger.reads
            if named.fact == "p95"
            for service in estate.group_services(group)
            if named.of in (service.id, service.kind)
        }
        for service in sorted(wanted):
            for vantage in estate.regions:
                for as_client in (False, True):
                    yield Sight(vantage, service, placement.primary, as_client)


def _goes_on(before: Standing | None, now: Standing, gap: timedelta | None) -> Standing:
    """Count on from how it stood, if the primaries are still where they were."""
    if before is None or gap is None or before.region != now.region:
        return now
    since = before.since if before.true is now.true else now.since
    match now.true:
        case False:
            held, true_at, fired = timedelta(), None, False
        case True:
            held = before.held + (gap if before.true else timedelta())
            true_at, fired = before.true_at or now.since, before.fired or held >= now.lasting
        case None:  # pragma: no branch (there is no fourth)
            forgotten = now.since - since > now.lasting
            held, true_at = (timedelta(), None) if forgotten else (before.held, before.true_at)
            fired = before.fired
    return replace(now, since=since, held=held, true_at=true_at, fired=fired)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asking:
    """Puts the questions of one moment. A fact is read once, however many ask for it."""

    detector: Detector
    assessment: Assessment
    estate: Estate
    times: Times
    available: Availability
    _known: dict[tuple[str, RegionId | None, RegionId, GroupId | None], Value | None] = field(default_factory=dict)
    _answers: dict[tuple[str, RegionId, GroupId | None], tuple[bool | None, tuple[Evidence, ...]]] = field(
        default_factory=dict
    )

    def ask(self, trigger: Trigger, group: GroupId, region: RegionId) -> Standing:
        """Return how a trigger stands by what is known now alone."""
        now = self.assessment.at
        of_group = any(named.scope is Scope.KIND for named in trigger.reads)
        key = trigger.name, region, group if of_group else None
        if key not in self._answers:
            self._answers[key] = self._put(trigger, group, region)
        true, sights = self._answers[key]
        return Standing(
            trigger=trigger.name,
            group=group,
            region=region,
            when=trigger.when,
            action=trigger.action,
            severity=trigger.severity,
            automatic=trigger.automatic,
            lasting=trigger.lasting,
            rto=trigger.rto,
            says=trigger.says,
            true=true,
            since=now,
            held=timedelta(),
            true_at=now if true else None,
            fired=False,
            sights=sights,
        )

    def _put(self, trigger: Trigger, group: GroupId, region: RegionId) -> tuple[bool | None, tuple[Evidence, ...]]:
        """Put the question to every vantage point outside: what they agree on, and what each says."""
        now = self.assessment.at
        ground = Ground(
            detector=self.detector,
            estate=self.estate,
            now=now,
            oldest=now - stale_after(self.detector),
            group=group,
            region=region,
            times=self.times,
            available=self.available,
        )
        said: dict[RegionId, tuple[bool | str, Mapping[Named, Value | None]]] = {}
        for vantage in sorted(v for v in self.estate.regions if v != region):
            facts = {named: self._fact(named, ground, vantage) for named in trigger.reads}
            answer = trigger.condition({n.written: v for n, v in facts.items() if v is not None})
            said[vantage] = answer, facts
        heard = [answer for v, (answer, _) in said.items() if v not in self.assessment.voiceless]
        true = _agreed(heard, outside=len(said), need=quorum(self.estate, region))
        return true, tuple(self._sight(vantage, answer, facts) for vantage, (answer, facts) in said.items())

    def _sight(self, vantage: RegionId, answer: bool | str, facts: Mapping[Named, Value | None]) -> Evidence:
        voiceless = self.assessment.voiceless.get(vantage)
        told = ", ".join(f"{named.written} {say_value(value)}" for named, value in facts.items())
        broken = isinstance(answer, str) and None not in facts.values()
        view = VIEWS[answer if isinstance(answer, bool) else None]
        return Evidence(
            vantage=vantage,
            view=view,
            votes=voiceless is None,
            why=voiceless or (f"{answer}; {told}" if broken else told),
        )

    def _fact(self, named: Named, ground: Ground, vantage: RegionId) -> Value | None:
        seen = fact_of(named.scope, named.fact).seen
        of_group = ground.group if named.scope is Scope.KIND else None
        key = named.written, vantage if seen else None, ground.region, of_group
        if key not in self._known:
            self._known[key] = read(named, ground, vantage)
        return self._known[key]


def _agreed(answers: Iterable[bool | str], *, outside: int, need: int) -> bool | None:
    """What those with a vote agree on: true is what a quorum says, false what a quorum denies or what leaves none."""
    counted = Counter(answer if isinstance(answer, bool) else None for answer in answers)
    if counted[True] >= need:
        return True
    return False if counted[False] >= min(need, outside - need + 1) else None


def say_value(value: Value | None) -> str:
    """Return a fact's value in words."""
    match value:
        case None:
            return "not known"
        case bool():
            return "true" if value else "false"
        case timedelta():
            return f"{value.total_seconds():.3g} s"
        case int() | float():  # pragma: no branch (the union is closed)
            return f"{value:.3g}"


def worst_first(standings: Mapping[GroupId, tuple[Standing, ...]]) -> Iterator[Standing]:
    """Yield all of them: those that ask for their action first, then what is true, what nobody can tell, the rest."""
    order = {True: 1, None: 2, False: 3}
    every = [s for of_group in standings.values() for s in of_group]
    yield from sorted(every, key=lambda s: 0 if s.acts else order[s.true])
