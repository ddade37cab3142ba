"""The watch over a simulation: every invariant of `docs/design/safety.md` 8 that can be seen here, at the moment when
it could break.

Intuition: four streams tell all there is. Commits say what the journal holds, effects what members did,
acknowledgements what clients were promised, and news what people were told. Each rule looks at one of them as it comes,
against what the others have said so far, and never asks evac what it thinks.

What this is not: a part of evac. Beside the fold of the journal no rule of the core is called here; each is said once
more, as shortly as it can be.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from math import inf

from evac.core.estate import ComponentId, Estate, RegionId, ReplicationMode
from evac.core.fold import apply
from evac.core.lease import Tenure
from evac.core.observation import MemberRole
from evac.core.plan import Placement, RunKind, StepId, Verb
from evac.core.run import Event, Opened, Outcome, Resumed, Run, RunId, Settled, Started
from evac.engine.chain import unlink
from evac.engine.codec import decode
from evac.ports import Change
from evac.sim import words
from evac.sim.databases import Database, Databases
from evac.sim.leased import Leases
from evac.sim.obedience import Effect
from evac.sim.routers import Router
from evac.sim.violation import Violation
from evac.sim.writers import Acknowledged

OUT = frozenset({"stopped", "expired", "device"})
"""The receipts of an old primary that is out: its own, or one of somebody else who names it."""
TOUCHED_LATELY = 15.0
"""A move that comes within so many seconds after a fault of its region has ended is for its sake."""


@dataclass(slots=True)
class _Reign:
    """A term in which somebody was told yes."""

    node: RegionId
    begun: float


@dataclass(slots=True, kw_only=True)
class Watch:
    """All rules, and what they remember."""

    estate: Estate
    databases: Databases
    clock: Callable[[], float]
    found: list[Violation] = field(default_factory=list)
    first: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when something was found."""
    runs: dict[RunId, Run] = field(default_factory=dict)
    terms: list[int] = field(default_factory=list)
    """Every term that a run was opened or taken up in, in their order."""
    by_term: dict[int, RunId] = field(default_factory=dict)
    """Which run raised a term."""
    taken_at: dict[RunId, float] = field(default_factory=dict)
    """When a run was opened or taken up last."""
    acknowledged: list[Acknowledged] = field(default_factory=list)
    left: dict[RegionId, float] = field(default_factory=dict)
    """Regions whose primary was left and not rebuilt, and since when."""
    leases: Leases | None = None
    """The lease that the primary is held under, if it is."""
    touched: dict[RegionId, float] = field(default_factory=dict)
    """Until when a fault could have been felt in a region; infinity while one is on."""
    routers: Mapping[RegionId, Router] = field(default_factory=dict)
    _before: dict[RunId, dict[str, str]] = field(default_factory=dict)
    """How everything stood when a run was opened."""
    _term: int = 0
    _placed: int = 0
    _reigns: dict[int, _Reign] = field(default_factory=dict)
    _intents: Counter[tuple[RunId, StepId, int, bool]] = field(default_factory=Counter)
    _effects: Counter[tuple[RunId, StepId, int, bool]] = field(default_factory=Counter)
    _promotions: Counter[RunId] = field(default_factory=Counter)

    def broken(self, rule: str, what: str) -> None:
        """Note that a rule does not hold."""
        self.found.append(Violation(rule=rule, at_s=self.clock(), what=what))
        self.first.set()

    @property
    def active(self) -> list[Run]:
        """The runs that are not settled."""
        return [run for run in self.runs.values() if run.settled is None]

    # what the journal says

    def committed(self, changes: Collection[Change]) -> list[tuple[RunId, Event]]:
        """Look at a commit; return the journal entries in it."""
        entries: list[tuple[RunId, Event]] = []
        for change in changes:
            if change.record is None:
                continue
            kind, _, rest = change.key.partition("/")
            if kind == "runs":
                run, event = RunId(rest.partition("/")[0]), unlink(change.record.value).event
                entries.append((run, event))
                self._entry(run, event)
            elif kind == "terms":
                self._term = self._grows("S2", f"the term of {rest}", self._term, decode(change.record.value, int))
            elif kind == "placement":
                what, term = f"the recorded term of {rest}", decode(change.record.value, Placement).term
                self._placed = self._grows("S2", what, self._placed, term, strictly=False)
            elif kind == "leases":
                self._leased(ComponentId(rest), decode(change.record.value, Tenure))
        return entries

    def _leased(self, component: ComponentId, tenure: Tenure) -> None:
        """S5: who waited a lease out takes it from one that can say yes no more."""
        region = tenure.region
        for node in self.databases.siblings(self.databases.node(component, region)):
            if tenure.waited and self.could_acknowledge(node):
                self.broken("S5", f"{region} has waited the lease of {node.where} out, which could acknowledge a write")
        if self.leases is not None:
            self.leases.written(tenure, self.clock())

    def _grows(self, rule: str, what: str, before: int, now: int, *, strictly: bool = True) -> int:
        if now < before or (strictly and now == before):
            self.broken(rule, f"{what} went from {before} to {now}")
        return now

    def _entry(self, run_id: RunId, event: Event) -> None:
        run = apply(self.runs.get(run_id), event)
        self.runs[run_id] = run
        match event:
            case Opened():
                self._begins(run_id, run.term)
                self._before[run_id] = self._picture()
                self._opened(run)
            case Resumed(term=term):
                self._begins(run_id, term)
            case Settled(outcome=Outcome.ROLLED_BACK):
                self._as_before(run)
            case Started(step=step, term=term, undo=undo):
                self._intents[run_id, step, term, undo] += 1
                if term != run.term:
                    self.broken("S7", f"run {run_id}: {step} was ordered at term {term}, the run is at {run.term}")
            case _:
                pass

    def _picture(self) -> dict[str, str]:
        """What a client or another member could notice of each member and router."""
        whom = {n.where: f"{n.role}, follows {n.upstream}, waits for {n.sync}" for n in self.databases.nodes.values()}
        return whom | {r.where: f"sends clients to {', '.join(r.sends_to)}" for r in self.routers.values()}

    def _as_before(self, run: Run) -> None:
        """S8: a run that was rolled back leaves everything as it found it, but what has died or was killed since; a
        standby that had been left at another one may follow the run's source, as whoever refused it is told to again.
        """
        now, home = self._picture(), f"{MemberRole.STANDBY}, follows {run.plan.source}, "
        for where, before in self._before.get(run.id, {}).items():
            at_home = now[where].startswith(home) and before.startswith(MemberRole.STANDBY)
            if now[where] != before and not at_home and not now[where].startswith(MemberRole.STOPPED):
                self.broken("S8", f"run {run.id} was rolled back, and {where} {now[where]}; before: {before}")

    def _begins(self, run: RunId, term: int) -> None:
        """S2: no term is used twice, by whatever life of the store."""
        if term in self.by_term:
            self.broken("S2", f"run {run} begins term {term}, which was run {self.by_term[term]}'s")
        self.by_term[term], self.taken_at[run] = run, self.clock()
        self.terms.append(term)

    def restored(self) -> None:
        """The store is as a backup was: what the journal says begins anew there, and the terms may not."""
        self._term = self._placed = 0
        self.runs = {}
        for counted in (self._intents, self._effects, self._promotions):
            counted.clear()

    @property
    def primary(self) -> RegionId | None:
        """Where the primary is; None where there is not exactly one."""
        there = [n.region for n in self.databases.nodes.values() if n.role is MemberRole.PRIMARY]
        return there[0] if len(there) == 1 else None

    def _opened(self, run: Run) -> None:
        others = [r.id for r in self.active if r.plan.group == run.plan.group and r.id != run.id]
        if others:
            self.broken("S13", f"run {run.id} was opened while {', '.join(others)} was under way")
        if run.plan.kind in (RunKind.FAILOVER, RunKind.SWITCHOVER) and run.opened.decided_by == "evac":
            self._justified(run)

    def _justified(self, run: Run) -> None:
        """S11: a majority of those outside, each with a vote, see it fail. L4: something was wrong there, if only that
        a run which is stuck has stopped its primary.
        """
        source = run.plan.source
        evidence = run.opened.decision.get("evidence") or ()
        assert isinstance(evidence, list | tuple)
        against = [e["vantage"] for e in evidence if isinstance(e, Mapping) and e["votes"] and "down" in str(e["view"])]
        outside = len(self.estate.regions) - 1
        needed = max(outside // 2 + 1, min(2, outside))
        if len(against) < needed:
            self.broken("S11", f"run {run.id} leaves {source} on the word of {len(against)}, {needed} are needed")
        if self.touched.get(source, -1.0) < self.clock() and self.primary == source:
            self.broken("L4", f"run {run.id} leaves {source}, where nothing was wrong")

    # what members did

    def changed(self, node: Database | Router, effect: Effect) -> None:
        """Look at an effect, at the moment before it holds."""
        action = effect.action
        what = f"{'undo of ' if effect.undo else ''}{action.verb} at {node.where}"
        if action.term < effect.seen:
            self.broken("S6", f"{what} by order of term {action.term}, {effect.seen} had been seen")
        run = self.runs.get(self.by_term.get(action.term, RunId("")))
        step = None if run is None else _step_of(run, effect)
        if run is None or step is None:
            self.broken("S7", f"{what} at term {action.term}, which no run's journal has")
            return
        if run.settled is not None and run.settled.outcome is Outcome.ROLLED_BACK:
            self.broken("S8", f"{what} arrived after run {run.id} had been rolled back")
        key = run.id, step, int(action.term), effect.undo
        self._effects[key] += not effect.anew
        if self._effects[key] > self._intents[key]:
            times = f"{self._effects[key]} times, ordered {self._intents[key]} times"
            self.broken("S7", f"{what} by run {run.id}: {times} at term {action.term}")
        if isinstance(node, Database) and action.verb is Verb.PROMOTE and not effect.anew:
            self._promoted(node, run)
        elif action.verb is Verb.REJOIN:
            self.left.pop(node.region, None)

    def sent(self, router: Router, effect: Effect, weights: Mapping[str, int]) -> None:
        """S10: a router sends clients somewhere, and only to where the primary is, that nothing holds down."""
        there = [RegionId(region) for region, weight in weights.items() if weight]
        if not there:
            self.broken("S10", f"{router.where} sends clients nowhere")
        for node in (n for n in self.databases.nodes.values() if n.region in there):
            if node.role is not MemberRole.PRIMARY or node.region in self.left:
                how = "was left and not rebuilt" if node.region in self.left else f"is {node.role}"
                self.broken("S10", f"{router.where} sends clients to {node.region}, where {node.where} {how}")

    def misrouted(self, routers: Collection[Router]) -> str:
        """S10 and L6: which router sends clients to another region than the primary's; empty if none does."""
        wrong = (r for r in routers if r.sends_to != (self.primary,))
        return next((f"{r.where} sends clients to {', '.join(r.sends_to)}" for r in wrong), "")

    def kept(self, node: Database, effect: Effect) -> None:
        """Look at a member that the keeper of its lease takes down or up: as a primary only while the lease is its
        region's (S5), and only where one ran (S3). As a standby it writes nothing.
        """
        if effect.action.term < effect.seen:
            self.broken("S6", f"{node.where} was kept at term {effect.action.term}, {effect.seen} had been seen")
        if effect.undo and words.again(effect.action, node.was) is MemberRole.PRIMARY:
            if node.was is not MemberRole.PRIMARY:
                self.broken("S3", f"{node.where} was started as a primary, and had been a {node.was}")
            if not (self.leases is not None and self.leases.has(node.region)):
                self.broken("S5", f"{node.where} was started, and its lease is another's")
        self.touched[node.region] = max(self.touched.get(node.region, 0.0), self.clock() + TOUCHED_LATELY)
        for run in self.active:
            self._before[run.id].pop(node.where, None)  # from here on it is not the run that says how this one stands

    def _promoted(self, node: Database, run: Run) -> None:
        self._promotions[run.id] += 1
        if self._promotions[run.id] > 1:
            self.broken("S7", f"run {run.id} promoted {node.where} {self._promotions[run.id]} times")
        if reason := self._unfenced(node, run):
            self.broken("S3", f"run {run.id} promotes {node.where}: {reason}")
        for other in self.databases.siblings(node):
            if self.could_acknowledge(other):
                self.broken("S3", f"run {run.id} promotes {node.where} while {other.where} could acknowledge a write")
        if self.synchronous:
            held = {e.name for e in node.log}
            if lost := [a.name for a in self.acknowledged if a.name not in held]:
                self.broken(
                    "S4", f"run {run.id} promotes {node.where} without {_some(lost)}, which had been acknowledged"
                )
        self.left.pop(node.region, None)
        self.left[run.plan.source] = self.clock()

    def _unfenced(self, node: Database, run: Run) -> str:
        """Why the journal has no proof that the old primary is out; empty if it has one."""
        plan = run.plan
        kinds = {i: p.receipt.kind for i, p in run.does.items() if p.receipt is not None}
        mine = [s for s in plan.steps if s.id in kinds and s.action.component == node.component]
        if any(kinds[s.id] in OUT and plan.source in (s.action.region, s.action.args.get("old")) for s in mine):
            return ""
        refuse = {s.action.region for s in mine if kinds[s.id] == "starved"}
        sets = plan.before.sync.get(node.component, ())
        if not sets:
            return "no receipt says that the old primary is out"
        for sync in sets:
            needed = len(sync.standbys) - sync.acks + 1
            if len(refuse & set(sync.standbys)) < needed:
                return f"{len(refuse)} of {', '.join(sync.standbys)} refuse the old one, {needed} must"
        return ""

    def could_acknowledge(self, node: Database) -> bool:
        """Return whether a member could still say yes to a client, now or when it is thawed or reached again."""
        if node.process is None or node.role is not MemberRole.PRIMARY:
            return False
        if node.sync is None or not node.sync.acks:
            return True
        follow = [r for r in node.sync.standbys if self.databases.node(node.component, r).upstream == node.region]
        return len(follow) >= node.sync.acks

    @property
    def synchronous(self) -> bool:
        """Whether every database waits for standbys before it acknowledges."""
        return all(c.replication.mode is ReplicationMode.SYNC for c in self.estate.components.values() if c.replication)

    # what clients were told

    def told(self, yes: Acknowledged) -> None:
        """Look at an acknowledgement, at the moment it is heard."""
        self.acknowledged.append(yes)
        reign = self._reigns.setdefault(yes.term, _Reign(yes.node, yes.heard))
        if reign.node != yes.node:
            self.broken("S1", f"{yes.name} was acknowledged by {yes.node} in term {yes.term}, which is {reign.node}'s")
        for term, later in self._reigns.items():
            if term > yes.term and later.begun < yes.invoked:
                self.broken(
                    "S1",
                    f"{yes.name} was acknowledged by {yes.node} in term {yes.term}, asked for"
                    f" {yes.invoked - later.begun:.3f} s after {later.node} had acknowledged in term {term}",
                )
        if self.leases is not None:
            self.leases.told(yes)
        left = self.left.get(yes.node, inf)
        # A standby's word that it gave before it refused may be under way; what rests on it, the new primary has (S4).
        words_come = self.databases.network.longest if self.synchronous and yes.invoked < left else 0.0
        if yes.said > left + words_come:
            self.broken("S9", f"{yes.name} was acknowledged by {yes.node}, which was left and has not been rebuilt")

    # when all is over

    def at_the_end(self, journals: Mapping[RunId, Run], *, stuck_told: Collection[RunId]) -> None:
        """Look at what is there once everything has healed and come to rest."""
        for run in self.active:
            self.broken("L2", f"run {run.id} ({run.plan.kind}) never ended")
        for run in self.runs.values():
            settled = run.settled
            if settled is not None and settled.outcome is Outcome.STUCK and run.id not in stuck_told:
                self.broken("L2", f"run {run.id} is stuck, and nobody was told")
        for run_id, run in journals.items():
            if run != self.runs.get(run_id):
                self.broken("S12", f"run {run_id}: its journal, replayed, says something else than it did")
        self._nothing_lost()

    def _nothing_lost(self) -> None:
        """S4: what was acknowledged is there, or in a report of orphans where that was not promised."""
        primaries = [n for n in self.databases.nodes.values() if n.role is MemberRole.PRIMARY]
        if len(primaries) != 1:
            return
        names = Counter(e.name for e in primaries[0].log if e.name)
        reported = set() if self.synchronous else {name for saved in self.databases.saved for name in saved.names}
        if lost := [a.name for a in self.acknowledged if a.name not in names and a.name not in reported]:
            self.broken("S4", f"{_some(lost)} had been acknowledged and {'are' if len(lost) > 1 else 'is'} gone")
        if twice := [name for name, n in names.items() if n > 1]:
            self.broken("S4", f"{_some(twice)} there more than once")


def _step_of(run: Run, effect: Effect) -> StepId | None:
    """The step an effect belongs to."""
    for step in run.plan.steps:
        same = step.action.verb is effect.action.verb and step.action.component == effect.action.component
        if same and step.action.region == effect.action.region:
            return step.id
    return None


def _some(names: Collection[str]) -> str:
    first = ", ".join(list(names)[:3])
    return first if len(names) <= 3 else f"{first} and {len(names) - 3} more"
