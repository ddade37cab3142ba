"""What the controller remembers between two decisions; all of it can be had again from the store and the agents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TypeVar

from evac.core.decision import Decision, View
from evac.core.detector import Detector
from evac.core.essence import essence
from evac.core.estate import ComponentId, Estate, GroupId, RegionId
from evac.core.memory import Memory, remember
from evac.core.news import VerdictNews
from evac.core.observation import Instant
from evac.core.plan import Placement, Plan
from evac.core.policy import Guard
from evac.core.quiet import Pause, Window
from evac.core.run import Run, RunId
from evac.core.standing import SetChange
from evac.core.triggers import Triggers
from evac.core.verdict import Assessment, Diagnosis, Verdict
from evac.engine.codec import decode
from evac.engine.memories import recall
from evac.engine.quiet import read_quiet
from evac.ports import Clock, Store

PASSING = frozenset({Diagnosis.UNKNOWN, Diagnosis.LINK_CUT})
"""Verdicts that are often a station on the way to another one."""
LASTING = timedelta(seconds=1)
"""How long such a verdict stands before it is told."""

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Knowledge:
    """The controller's memory."""

    detector: Detector
    placements: dict[GroupId, Placement] = field(default_factory=dict)
    unplaced: dict[GroupId, tuple[str, ...]] = field(default_factory=dict)
    """Why a group's first placement is not known yet."""
    active: dict[GroupId, RunId] = field(default_factory=dict)
    giving_way: set[GroupId] = field(default_factory=set)
    """The groups whose run under way gives way to a move."""
    memories: dict[GroupId, Memory] = field(default_factory=dict)
    """What each group's earlier runs mean, on this machine's boot clock; and what failed without becoming a run."""
    verdicts: dict[RegionId, Verdict] = field(default_factory=dict)
    """The verdicts that were told last."""
    unsettled: dict[RegionId, Instant] = field(default_factory=dict)
    """Since when a region's verdict has differed from the one told."""
    decisions: dict[GroupId, Decision] = field(default_factory=dict)
    triggers: Triggers = field(default_factory=Triggers)
    """How the triggers stand; whoever begins to lead counts anew."""
    pause: Pause | None = None
    windows: dict[str, Window] = field(default_factory=dict)
    """The maintenance that people have called, by its id; what is over is forgotten when more is called."""

    async def recall(self, store: Store, clock: Clock, *, guard: Guard) -> None:
        """Take up what the store remembers. The nearest copy is read, as `memories.recall` says."""
        for record in await store.list("placement/", near=True):
            placement = decode(record.value, Placement)
            self.placements[placement.group] = placement
        self.pause, self.windows = await read_quiet(store, near=True)
        memories, under_way = await recall(store, clock, guard=guard)
        self.memories = dict(memories)
        for run in under_way.values():
            self.began(run.plan, run.id)

    def view(self, estate: Estate, assessment: Assessment, *, paused: str, quiet: Mapping[GroupId, str]) -> View:
        """Return all that a decision rests on: what is known, what it means now, and what is not to be done by itself:
        `paused` says why nothing is, `quiet` for which groups.
        """
        return View(
            estate=estate,
            assessment=assessment,
            members=self.detector.members,
            placements=self.placements,
            active=self.active,
            giving_way=frozenset(self.giving_way),
            stuck=self.stuck,
            last_move_at=self.each(lambda memory: memory.last_move_at),
            flaps=self.each(lambda memory: memory.flaps),
            turned_back_at=self.each(lambda memory: memory.turned_back_at),
            tries=self.each(lambda memory: memory.tries),
            rejoin_tries=self.each(lambda memory: memory.rejoin_tries),
            shift_tries=self.each(lambda memory: memory.shift_tries),
            return_tries=self.each(lambda memory: memory.return_tries),
            shift_flaps=self.each(lambda memory: memory.shift_flaps),
            sent_by=self.each(lambda memory: memory.sent_by),
            protect_tries=self.each(lambda memory: memory.protect_tries),
            settled_at=self.each(lambda memory: memory.settled_at),
            leavings=self.each(lambda memory: memory.leavings),
            streams=self.detector.streams,
            heard_since=self.detector.fresh_since,
            triggers=self.triggers.standings,
            urged_at=self.each(lambda memory: memory.urged_at),
            urge_tries=self.each(lambda memory: memory.urge_tries),
            paused=paused,
            quiet=quiet,
        )

    def memory(self, group: GroupId) -> Memory:
        """Return what a group's earlier runs mean."""
        return self.memories.get(group, Memory())

    def each(self, ask: Callable[[Memory], T | None]) -> dict[GroupId, T]:
        """Return what is remembered of each group in one respect, where there is anything."""
        return {group: found for group, memory in self.memories.items() if (found := ask(memory)) is not None}

    @property
    def stuck(self) -> dict[GroupId, RunId]:
        """The groups' runs that are stuck; of one group `memory` tells without a look at the others."""
        return self.each(lambda memory: memory.stuck)

    def set_changes(self, groups: Iterable[GroupId]) -> dict[ComponentId, SetChange]:
        """Return the last run of these groups that changed whom each component's primary waits for."""
        return {c: change for group in groups for c, change in self.memory(group).set_changes.items()}

    def resolved(self, group: GroupId) -> None:
        """Note that a person has called a group's stuck run resolved."""
        self.memories[group] = replace(self.memory(group), stuck=None)

    def resumed(self) -> None:
        """Note that a person has turned automation on: what failed before is tried again at once."""
        self.pause = None
        self.memories = {group: memory.anew() for group, memory in self.memories.items()}

    def began(self, plan: Plan, run: RunId) -> None:
        """Note a run under way."""
        self.active[plan.group] = run
        if plan.gives_way:
            self.giving_way.add(plan.group)

    def ended(self, group: GroupId) -> None:
        """Note that a group has no run under way any more."""
        del self.active[group]
        self.giving_way.discard(group)

    def settled(self, group: GroupId, run: Run, *, now: Instant, guard: Guard) -> None:
        """Note a run's end: what it means for the next decision."""
        self.memories[group] = remember(self.memory(group), run, at=now, guard=guard)

    def failed_try(self, group: GroupId, now: Instant, *, urged: bool) -> None:
        """Note one more move that came to nothing; those that a trigger asked for are counted apart."""
        self.memories[group] = self.memory(group).failed_try(now, urged=urged)

    def failed_shift(self, group: GroupId, *, back: bool, now: Instant) -> None:
        """Note one more shift of traffic that came to nothing: to another door, or back."""
        self.memories[group] = self.memory(group).failed_shift(now, back=back)

    def failed_protection(self, group: GroupId, now: Instant) -> None:
        """Note one more change of the set that must acknowledge that came to nothing."""
        self.memories[group] = self.memory(group).failed_protection(now)

    def is_news(self, decision: Decision) -> bool:
        """Return whether a decision differs from the last one of its group in more than its figures."""
        last = self.decisions.get(decision.group)
        return last is None or essence(last) != essence(decision)

    def told_of(self, assessment: Assessment) -> list[VerdictNews]:
        """Take a verdict that changed for told, and return the news of it; one that nothing would be done about only
        when it has lasted.
        """
        news: list[VerdictNews] = []
        for region, verdict in assessment.verdicts.items():
            told = self.verdicts.get(region)
            if told is not None and told.diagnosis is verdict.diagnosis and told.services == verdict.services:
                self.unsettled.pop(region, None)
                continue
            since = self.unsettled.setdefault(region, assessment.at)
            if verdict.diagnosis in PASSING and told is not None and assessment.at - since < LASTING:
                continue
            del self.unsettled[region]
            news.append(VerdictNews(at=assessment.at, verdict=verdict, before=told))
            self.verdicts[region] = verdict
        return news
