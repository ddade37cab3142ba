"""Stories for golden scenarios: a text says what happens to a world when, and the core says what it makes of it.

One line an event, `time event arguments`; `look` prints verdicts, decisions and plans of that moment. Everybody looks
at everything twice a second, and an agent of a region that is dead or cut off says nothing. Lines:

    estate three|five|nine [acks=N] [cache_acks=N] [automation=manual] [dns=no] [when_alone=degrade]     (first)
    trigger NAME ACTION SECONDS automatic|asks EXPRESSION...                                              (then)
    T dead|back REGION          the region is gone, and returns
    T cut|mend A B              nothing passes between two regions
    T down|up SERVICE REGION    the service fails, from outside and inside
    T ingress|open REGION       well inside, not reachable from outside
    T shut|open REGION          the door for clients alone is shut: all client probes fail
    T gray|clear REGION         three of five client probes fail, from everywhere
    T lossy|clear REGION        two of five probes of all kinds fail, from everywhere
    T isolated|joined REGION    this observer sees everything down, and its agent still says it lives
    T silent|heard REGION       the agent says nothing; the region itself is well
    T lag REGION SECONDS        its copies are behind
    T disk REGION SHARE         so much is free on the disks of its members
    T slow REGION SECONDS       good answers from there take so long
    T paused WHY... | T resumed
    T stall|flow COMPONENT REGION   nothing comes over this standby's stream, and again it does
    T freeze|thaw COMPONENT REGION  this member does not answer
    T moved | T rejoined | T protected | T shifted | T turned-back     the last printed plan is done, or was undone
    T flapped POINTS AGO        so restless was the group so many seconds ago
    T plan switchover|failback|failover TARGET [accept_loss] | T plan shift TARGET
    T look
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta

from evac.core.assessment import assess
from evac.core.deciding import decide
from evac.core.decision import Ask, CallPerson, Decision, Flaps, Hold, Move, Rejoin, Tries, View
from evac.core.detector import Detector, fold
from evac.core.errors import UnsafePlan
from evac.core.estate import (
    Automation,
    Component,
    ComponentId,
    Estate,
    GroupId,
    Purpose,
    RegionId,
    ServiceId,
    WhenAlone,
)
from evac.core.observation import Instant, MemberSeen, MemberState, Observation
from evac.core.plan import Placement, Plan, RunKind, Term, Verb
from evac.core.planning import plan_move
from evac.core.protection import Protect, plan_protect, shrinks
from evac.core.rejoining import plan_rejoin
from evac.core.shifting import plan_shift, wished_shift
from evac.core.steps import Situation
from evac.core.traffic import Shift
from evac.core.trigger import Action, Trigger
from evac.core.triggers import Triggers, advance
from evac.core.verdict import Assessment, Diagnosis, Verdict
from evac.report.triggers import standing_lines
from evac.sim.estates import FIVE, GROUP, NINE, SHOP_DNS, THREE, placed, shop
from fakes.estates import beat, member, probed, seconds
from fakes.triggers import trigger
from fakes.waiting import waits_of

STEP = 0.5
SIZES = {"three": THREE, "five": FIVE, "nine": NINE}
GRAY = (True, False, False, True, False)
LOSSY = (True, False, True, True, False)


@dataclass(slots=True)
class Story:
    """The world so far, and the controller's memory of it."""

    estate: Estate
    placement: Placement
    detector: Detector
    now: float = 0.0
    ticks: int = 0
    dead: set[RegionId] = field(default_factory=set)
    links: set[frozenset[RegionId]] = field(default_factory=set)
    down: set[tuple[ServiceId, RegionId]] = field(default_factory=set)
    ingress: set[RegionId] = field(default_factory=set)
    shut: set[RegionId] = field(default_factory=set)
    gray: set[RegionId] = field(default_factory=set)
    lossy: set[RegionId] = field(default_factory=set)
    isolated: set[RegionId] = field(default_factory=set)
    silent: set[RegionId] = field(default_factory=set)
    lag: dict[RegionId, float] = field(default_factory=dict)
    disk: dict[RegionId, float] = field(default_factory=dict)
    slow: dict[RegionId, float] = field(default_factory=dict)
    triggers: Triggers = field(default_factory=Triggers)
    primaries: dict[ComponentId, RegionId] = field(default_factory=dict)
    paused: str = ""
    last_move_at: dict[GroupId, Instant] = field(default_factory=dict)
    flaps: Flaps = field(default_factory=Flaps)
    shift_tries: dict[GroupId, Tries] = field(default_factory=dict)
    return_tries: dict[GroupId, Tries] = field(default_factory=dict)
    shift_flaps: Flaps = field(default_factory=Flaps)
    sent_by: dict[GroupId, str] = field(default_factory=dict)
    asked: bool = False
    settled_at: dict[GroupId, Instant] = field(default_factory=dict)
    leavings: Flaps = field(default_factory=Flaps)
    upstreams: dict[tuple[ComponentId, RegionId], RegionId] = field(default_factory=dict)
    """Whom a standby was told to follow; the first primary if it was not told."""
    stalled: dict[tuple[ComponentId, RegionId], float] = field(default_factory=dict)
    """Standbys over whose stream nothing comes, and since when."""
    frozen: set[tuple[ComponentId, RegionId]] = field(default_factory=set)
    """Members that do not answer, although their service does: it is served from elsewhere."""
    plan: Plan | None = None
    told: list[str] = field(default_factory=list)

    def upto(self, moment: float) -> None:
        """Let everybody look until `moment`."""
        while self.now < moment:
            self.now += STEP
            self.ticks += 1
            self._see()

    def _see(self) -> None:
        mute = self.dead | self.silent
        seen: list[Observation] = list(beat(self.now, *(r for r in self.estate.regions if r not in mute)))
        for component in self.estate.group_components(GROUP, Purpose.STATE):
            seen += [self._member(component, region) for region in component.members if region not in mute]
        for probe in self.estate.probes:
            for vantage in self.estate.regions:
                if vantage in mute or (probe.as_client and vantage == probe.region):
                    continue
                ok = self._passes(vantage, probe.region, probe.service, as_client=probe.as_client)
                took = self.slow.get(probe.region, 0.1)
                seen.append(
                    probed(self.now, vantage, probe.region, probe.service, ok=ok, as_client=probe.as_client, took=took)
                )
        self.detector = fold(self.detector, *seen)
        self.triggers = advance(
            self.triggers,
            detector=self.detector,
            assessment=self._assess(),
            estate=self.estate,
            placements={GROUP: self.placement},
        )

    def _member(self, component: Component, region: RegionId) -> MemberSeen:
        primary = self.primaries.get(component.id, self.estate.home[GROUP])
        seen = member(component.id, region, primary=primary, at=self.now)
        if (component.service, region) in self.down:
            return replace(seen, state=None, reason="does not answer within 1 s")
        if (component.id, region) in self.frozen:
            return replace(seen, state=None, reason="no answer within 2 s")
        assert seen.state is not None
        state = seen.state
        if region in self.lag:
            state = replace(state, lag=seconds(self.lag[region]))
        if region in self.disk:
            state = replace(state, free_disk=self.disk[region])
        if region != primary:
            state = self._streaming(component.id, region, state, primary)
        return replace(seen, state=state)

    def _streaming(
        self, component: ComponentId, region: RegionId, state: MemberState, primary: RegionId
    ) -> MemberState:
        """What a standby says of its stream: it follows whom it was told to, and hears of it while that lives."""
        upstream = self.upstreams.get((component, region), self.estate.home[GROUP])
        since = self.stalled.get((component, region))
        silence = None if since is None else seconds(self.now - since)
        flows = upstream == primary and upstream not in self.dead
        return replace(state, upstream=upstream, streaming=flows, stream_silence=silence)

    def _passes(self, vantage: RegionId, region: RegionId, service: ServiceId, *, as_client: bool) -> bool:
        outside = vantage != region
        pattern = self.ticks + sum(map(ord, service))
        return not (
            region in self.dead
            or (service, region) in self.down
            or (outside and region in self.ingress)
            or (outside and vantage in self.isolated)
            or frozenset((vantage, region)) in self.links
            or (outside and as_client and region in self.shut)
            or (outside and as_client and region in self.gray and not GRAY[pattern % 5])
            or (outside and region in self.lossy and not LOSSY[pattern % 5])
        )

    def happen(self, words: list[str]) -> None:
        """Apply one event."""
        match words:
            case ["dead", region]:
                self.dead.add(RegionId(region))
            case ["back", region]:
                self.dead.discard(RegionId(region))
            case ["cut", a, b]:
                self.links.add(frozenset((RegionId(a), RegionId(b))))
            case ["mend", a, b]:
                self.links.discard(frozenset((RegionId(a), RegionId(b))))
            case ["down", service, region]:
                self.down.add((ServiceId(service), RegionId(region)))
            case ["up", service, region]:
                self.down.discard((ServiceId(service), RegionId(region)))
            case ["ingress", region]:
                self.ingress.add(RegionId(region))
            case ["open", region]:
                self.ingress.discard(RegionId(region))
                self.shut.discard(RegionId(region))
            case ["shut", region]:
                self.shut.add(RegionId(region))
            case ["gray", region]:
                self.gray.add(RegionId(region))
            case ["lossy", region]:
                self.lossy.add(RegionId(region))
            case ["clear", region]:
                self.gray.discard(RegionId(region))
                self.lossy.discard(RegionId(region))
            case ["isolated", region]:
                self.isolated.add(RegionId(region))
            case ["joined", region]:
                self.isolated.discard(RegionId(region))
            case ["silent", region]:
                self.silent.add(RegionId(region))
            case ["heard", region]:
                self.silent.discard(RegionId(region))
            case ["stall", component, region]:
                self.stalled[ComponentId(component), RegionId(region)] = self.now
            case ["flow", component, region]:
                self.stalled.pop((ComponentId(component), RegionId(region)), None)
            case ["freeze", component, region]:
                self.frozen.add((ComponentId(component), RegionId(region)))
            case ["thaw", component, region]:
                self.frozen.discard((ComponentId(component), RegionId(region)))
            case ["lag", region, count]:
                self.lag[RegionId(region)] = float(count)
            case ["disk", region, share]:
                self.disk[RegionId(region)] = float(share)
            case ["slow", region, count]:
                self.slow[RegionId(region)] = float(count)
            case ["paused", *why]:
                self.paused = " ".join(why)
            case ["resumed"]:
                self.paused = ""
            case ["flapped", points, ago]:
                self.flaps = Flaps(points=float(points), at=seconds(self.now - float(ago)))
            case ["moved"] | ["rejoined"] | ["protected"]:
                self._done()
            case ["shifted"]:
                self._shifted()
            case ["turned-back"]:
                self._turned_back()
            case ["plan", "shift", target]:
                self._ask_shift(RegionId(target))
            case ["plan", kind, target, *options]:
                self._ask(RunKind(kind), RegionId(target), accept_loss="accept_loss" in options)
            case ["look"]:
                self._look()
            case _:
                raise ValueError(f"no such event: {' '.join(words)}")

    def _done(self) -> None:
        assert self.plan is not None, "something was planned before"
        self.placement = self.plan.after
        self.settled_at[GROUP] = seconds(self.now)
        self.primaries |= {s.action.component: s.action.region for s in self.plan.steps if s.pivot}
        if shrinks(self.plan) and self.plan.kind is RunKind.PROTECT:
            points = self.leavings.now(seconds(self.now), self.estate.guard.flap_half_life)
            self.leavings = Flaps(points=points + self.estate.guard.flap_penalty, at=seconds(self.now))
        for step in self.plan.steps:
            if step.action.verb in (Verb.FOLLOW, Verb.REJOIN):
                self.upstreams[step.action.component, step.action.region] = self.plan.target
        if self.plan.kind in (RunKind.FAILOVER, RunKind.SWITCHOVER, RunKind.FAILBACK):
            now, half_life = seconds(self.now), self.estate.guard.flap_half_life
            self.last_move_at[GROUP] = now
            points = self.flaps.now(now, half_life) + self.estate.guard.flap_penalty
            self.flaps = Flaps(points=points, at=now)

    def _shifted(self) -> None:
        assert self.plan is not None, "something was planned before"
        self.placement = self.plan.after
        self.shift_tries.clear()
        self.return_tries.clear()
        self.sent_by.clear()
        if self.placement.entry is not None and self.asked:
            self.sent_by[GROUP] = "alice"
        elif self.placement.entry is not None:
            now, guard = seconds(self.now), self.estate.guard
            points = self.shift_flaps.now(now, guard.flap_half_life) + guard.flap_penalty
            self.shift_flaps = Flaps(points=points, at=now)

    def _turned_back(self) -> None:
        assert self.plan is not None, "something was planned before"
        tries = self.return_tries if self.plan.target == self.placement.primary else self.shift_tries
        tries[GROUP] = Tries(count=1, at=seconds(self.now))

    def _assess(self) -> Assessment:
        return assess(self.detector, now=seconds(self.now), estate=self.estate)

    def _situation(self, assessment: Assessment) -> Situation:
        return Situation(
            estate=self.estate, assessment=assessment, members=self.detector.members, placement=self.placement
        )

    def _look(self) -> None:
        assessment = self._assess()
        self.told.append(f"{self.now:g} s")
        self.told += [line for v in assessment.verdicts.values() for line in tell_verdict(v)]
        self.told += [f"  {region} has no vote: {why}" for region, why in assessment.voiceless.items()]
        standings = self.triggers.standings.get(GROUP, ())
        self.told += [
            f"  {line}" if line.startswith(" ") else f"  trigger {line}"
            for line in standing_lines(standings, at=assessment.at)
        ]
        knows = View(
            estate=self.estate,
            assessment=assessment,
            members=self.detector.members,
            placements={GROUP: self.placement},
            last_move_at=self.last_move_at,
            flaps={GROUP: self.flaps},
            shift_tries=self.shift_tries,
            return_tries=self.return_tries,
            shift_flaps={GROUP: self.shift_flaps},
            sent_by=self.sent_by,
            heard_since=self.detector.fresh_since,
            streams=self.detector.streams,
            settled_at=self.settled_at,
            leavings={GROUP: self.leavings},
            paused=self.paused,
            triggers=self.triggers.standings,
        )
        for decision in decide(knows, now=assessment.at):
            self.told += tell_decision(decision)
            if isinstance(decision, Move | Shift | Rejoin | Protect):
                self._plan(decision, assessment)

    def _ask(self, kind: RunKind, target: RegionId, *, accept_loss: bool) -> None:
        wish = Move(
            group=GROUP,
            kind=kind,
            source=self.placement.primary,
            target=target,
            reasons=("asked for",),
            decided_by="alice",
            accept_loss=accept_loss,
        )
        self.told.append(f"{self.now:g} s  alice asks for a {kind} to {target}")
        self._plan(wish, self._assess())

    def _ask_shift(self, target: RegionId) -> None:
        self.told.append(f"{self.now:g} s  alice asks for clients to enter by {target}")
        assessment = self._assess()
        try:
            shift = wished_shift(self._situation(assessment), to=target, by="alice", reasons=("asked for",))
        except UnsafePlan as refusal:
            self.told += ["  no plan:", *(f"    {reason}" for reason in refusal.reasons)]
        else:
            self._plan(shift, assessment)
            self.asked = True

    def _plan(self, decision: Move | Shift | Rejoin | Protect, assessment: Assessment) -> None:
        term, before, self.asked = Term(self.placement.term + 1), self.plan, False
        try:
            match decision:
                case Rejoin():
                    self.plan = plan_rejoin(decision, self._situation(assessment), term=term)
                case Shift():
                    self.plan = plan_shift(decision, self._situation(assessment), term=term)
                case Move():
                    self.plan = plan_move(decision, self._situation(assessment), term=term)
                case Protect():
                    self.plan = plan_protect(decision, self.placement, term=term)
        except UnsafePlan as refusal:
            self.told += ["  no plan:", *(f"    {reason}" for reason in refusal.reasons)]
        else:
            same = before is not None and tell_plan(before) == tell_plan(self.plan)
            self.told += ["  plan: as before"] if same else tell_plan(self.plan)


def tell_verdict(verdict: Verdict) -> list[str]:
    """Return a verdict in words; of a region that is well, one line."""
    if verdict.diagnosis is Diagnosis.WELL:
        return [f"  {verdict.region} well"]
    said = f"  {verdict.region} {verdict.diagnosis}, {verdict.status} ({verdict.availability:.2f})"
    said += f", since {_at(verdict.since)}, first sign {_at(verdict.symptom_at)}"
    if verdict.services:
        said += f": {', '.join(verdict.services)}"
    return [said, *(f"    {e.vantage} {e.view}{'' if e.votes else ' (no vote)'}: {e.why}" for e in verdict.evidence)]


def tell_decision(decision: Decision) -> list[str]:
    match decision:
        case Hold():
            head = "hold, watching" if decision.watching else "hold"
        case Move():
            head = f"{decision.kind} {decision.group}: {decision.source} -> {decision.target}"
        case Shift():
            head = f"shift {decision.group}'s clients: {decision.source} -> {decision.target}"
        case Ask(move=move):
            kind = move.kind if isinstance(move, Move) else RunKind.SHIFT
            head = f"ask for {kind} {decision.group}: {move.source} -> {move.target}"
        case CallPerson():
            head = "call a person"
        case Rejoin():
            head = f"rejoin {decision.region}"
        case Protect():
            head = f"protect {decision.component} in {decision.region}"
    rejected = decision.rejected if isinstance(decision, Move | Shift) else ()
    return [
        f"  decision: {head}",
        *(f"    {reason}" for reason in decision.reasons),
        *(f"    not {r.region}: {r.reason}" for r in rejected),
    ]


def tell_plan(plan: Plan) -> list[str]:
    lines = [f"  plan: {plan.kind} {plan.source} -> {plan.target}, term {plan.term}"]
    for step in plan.steps:
        marks = [m for m, set_ in (("pivot", step.pivot), ("optional", step.optional)) if set_]
        tail = f" ({', '.join(marks)})" if marks else ""
        lines.append(f"    {step.phase}: {step.id}{tail}")
        if step.action.args:
            lines.append(f"      with {dict(step.action.args)}")
        if after := waits_of(step, plan.steps):
            lines.append(f"      after {', '.join(after)}")
    lines += [f"    note: {note}" for note in plan.notes]
    sets = [f"{c} {s.acks} of {', '.join(s.standbys)}" for c, sets_ in sorted(plan.after.sync.items()) for s in sets_]
    lines.append(f"    then: {plan.after.primary}; {'; '.join(sets) or 'nobody acknowledges'}")
    if plan.after.entry:
        lines.append(f"    clients enter by {plan.after.entry}")
    if plan.after.awaiting_rejoin:
        lines.append(f"    to be rebuilt: {', '.join(plan.after.awaiting_rejoin)}")
    return lines


def tell(text: str) -> str:
    """Play a story and return what was said."""
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    (_, size, *options), *rest = lines
    triggers = [words[1:] for words in rest if words[0] == "trigger"]
    events = [words for words in rest if words[0] != "trigger"]
    given = {"automation": "automatic", "acks": "1", "cache_acks": "1", "dns": "yes", "when_alone": "wait"} | dict(
        o.split("=") for o in options
    )
    estate = shop(
        SIZES[size],
        automation=Automation(given["automation"]),
        acks=int(given["acks"]),
        cache_acks=int(given["cache_acks"]),
        when_alone=WhenAlone(given["when_alone"]),
    )
    if given["dns"] == "no":
        estate = replace(estate, components={c: made for c, made in estate.components.items() if c != SHOP_DNS})
    estate = replace(estate, triggers=tuple(_trigger(estate, *words) for words in triggers))
    story = Story(estate=estate, placement=placed(estate), detector=Detector(policy=estate.detection))
    for moment, *words in events:
        story.upto(float(moment))
        story.happen(words)
    return "\n".join(story.told) + "\n"


def _trigger(estate: Estate, name: str, action: str, lasting: str, how: str, *when: str) -> Trigger:
    return trigger(
        estate,
        " ".join(when),
        name=name,
        action=Action(action),
        lasting=float(lasting),
        automatic=how == "automatic",
    )


def _at(instant: timedelta) -> str:
    return f"{instant.total_seconds():g}"
