"""The controller: folds what the agents publish, decides, and starts runs. The only place where decisions become acts.

Intuition: it carries values between the store and the pure core. Views come in, are folded, assessed and decided on;
a decision to move becomes a plan, a plan becomes a run in the journal, and the executor does the rest. What it knows
is written back as a snapshot for whoever asks, and what people wish is read from the store like everything else.

What this is not: hearing (`engine.hearing`), or rules. When to act is `core.deciding`, how is `core.planning`, how far
one has come is `core.run`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

import structlog

from evac.core.assessment import assess
from evac.core.deciding import decide
from evac.core.decision import Ask, CallPerson, Decision, Hold, Move, Rejoin, View
from evac.core.detector import Detector
from evac.core.ease import at_ease
from evac.core.errors import Conflict, StoreUnavailable, UnsafePlan
from evac.core.estate import Estate, GroupId
from evac.core.forcing import risks
from evac.core.lease import Leader
from evac.core.memory import Memory
from evac.core.news import Announce, DecisionNews, RunNews
from evac.core.plan import Placement, Plan
from evac.core.protection import Protect
from evac.core.quiet import Pause, Window, open_windows
from evac.core.run import Run, RunId
from evac.core.steps import Situation
from evac.core.traffic import Shift
from evac.core.triggers import advance
from evac.core.verdict import Assessment
from evac.engine import opener
from evac.engine.codec import decode, encode, to_plain, warm
from evac.engine.executor import Execution, Way, begin, execute
from evac.engine.forcing import take_word
from evac.engine.hearing import STORE_AGAIN, Hearing
from evac.engine.journal import read_journal, read_run
from evac.engine.knowledge import Knowledge
from evac.engine.opening import prepare_run
from evac.engine.orders import Answer, Order
from evac.engine.placing import place
from evac.engine.planner import Act, plan_of
from evac.engine.signing import Signer
from evac.ports import Clock, Store

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class Controller:
    """One estate's decisions. Wired by `evac.daemon`: one that is alone runs, one of several watches, and leads when it
    is elected.
    """

    def __init__(
        self,
        *,
        estate: Estate,
        store: Store,
        clock: Clock,
        announce: Announce,
        name: str,
        signer: Signer | None = None,
        unfolded_max: int = 0,
    ) -> None:
        """So many views may wait to be folded while nobody asks what is known."""
        self.estate = estate
        detector = Detector(policy=estate.detection)
        self._hearing = Hearing(detector, store=store, clock=clock, unfolded_max=unfolded_max)
        self._store = store
        self._clock = clock
        self._announce = announce
        self._name = name
        self._signer = signer
        self._runs: asyncio.TaskGroup | None = None
        self._under_way: dict[GroupId, tuple[Way, asyncio.Task[None]]] = {}
        self._kept_free: set[GroupId] = set()
        """Groups for which a person's move is about to begin: meanwhile nothing else is."""
        self._unsure: set[GroupId] = set()
        """Groups for which a run may have been opened: the store did not say."""
        self.led_by: Leader | None = None
        """Its own record, where it was elected."""
        self.recalled = asyncio.Event()
        """Set once it knows what the store remembers: before that nothing can be asked of it."""

    @property
    def known(self) -> Knowledge:
        """What it knows, all that it has heard of included."""
        return self._hearing.known

    async def run(self) -> None:
        """Watch, decide and act, as the only controller there is."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.watch())
            tasks.create_task(self.lead())

    async def watch(self) -> None:
        """Hear every view that an agent publishes, without end: whoever may lead knows what is seen when it begins."""
        await self._hearing.listen()

    async def lead(self) -> None:
        """Decide and act until cancelled. Runs that an earlier controller left behind go on first.

        Raises `StoreUnavailable` when the store cannot be read or written: nothing is decided without it.
        """
        await self._recall()
        try:
            async with asyncio.TaskGroup() as tasks:
                self._runs, self._hearing.at_ease, self._hearing.at_once = tasks, None, True
                self.recalled.set()
                for group, run in self.known.active.items():
                    self._drive(group, run)
                tasks.create_task(self._evaluate())
        finally:
            self._runs, self._hearing.at_once = None, False
            self._under_way.clear()
            self._unsure.clear()
            self.recalled.clear()

    async def _recall(self) -> None:
        """Take up what the store remembers: placements, unsettled runs, earlier moves, a pause."""
        warm(Order, Answer, Placement, Memory)
        if self.led_by is None:
            await opener.claim(self._store, self._who)
        self._hearing.forget()
        await self.known.recall(self._store, self._clock, guard=self.estate.guard)

    @property
    def _who(self) -> bytes:
        """By what the record of who may open runs names this controller."""
        return encode(self.led_by) if self.led_by else self._name.encode()

    async def _evaluate(self) -> None:
        while True:
            await self._hearing.rest()
            await self.evaluate()

    async def evaluate(self) -> None:
        """Assess and decide once, and act on it."""
        self._hearing.at_ease = None  # until all of it is found to be so
        await self._look_for_runs()
        assessment = self.assess()
        for news in self.known.told_of(assessment):
            self._announce(news)
        await place(self.known, self.estate, self._store)
        self._look_at_triggers(assessment)
        said, decisions = self._said(), decide(self.view(assessment), now=assessment.at)
        for decision in decisions:
            if self._said() != said:  # to begin a run takes its time, and a person has said something meanwhile
                self._hearing.stir()
                return
            await self._act(decision, assessment)
        nothing_open = not (self.known.active or self.known.unplaced or self._unsure)
        self._hearing.at_ease = assessment.at if nothing_open and at_ease(assessment, decisions) else None

    def _look_at_triggers(self, assessment: Assessment) -> None:
        known = self.known
        known.triggers = advance(
            known.triggers,
            detector=known.detector,
            assessment=assessment,
            estate=self.estate,
            placements=known.placements,
        )

    def _said(self) -> tuple[Pause | None, frozenset[str]]:
        """What people have said of automation: it holds for whatever has not begun yet."""
        return self.known.pause, frozenset(self.known.windows)

    def assess(self) -> Assessment:
        """Return what the views mean now."""
        return assess(self.known.detector, now=self._clock.now(), estate=self.estate)

    def view(self, assessment: Assessment) -> View:
        """Return all a decision rests on now."""
        wall = self._clock.wall()
        return self.known.view(self.estate, assessment, paused=self.paused(wall), quiet=self._quiet(wall))

    def paused(self, wall: datetime) -> str:
        """Return why automation is off, by whom and until when; empty when it is on."""
        pause = self.known.pause
        return pause.in_words() if pause and pause.holds(wall) else ""

    def windows(self, wall: datetime) -> tuple[Window, ...]:
        """Return the maintenance that is under way, declared or called by a person."""
        return open_windows(self.estate.maintenance, self.known.windows.values(), wall=wall)

    def _quiet(self, wall: datetime) -> dict[GroupId, str]:
        """The groups that maintenance disturbs now, each with that which lasts longest."""
        found: dict[GroupId, str] = {}
        for window in self.windows(wall):
            for placement in self.known.placements.values():
                if window.concerns(placement.group, placement.primary):
                    found.setdefault(placement.group, window.in_words())
        return found

    def situation(self, group: GroupId, assessment: Assessment) -> Situation:
        """Return what a plan for a group is made from now."""
        return Situation(
            estate=self.estate,
            assessment=assessment,
            members=self.known.detector.members,
            placement=self.known.placements[group],
        )

    async def _act(self, decision: Decision, assessment: Assessment) -> None:
        """Tell a decision when it is new, and carry it out when it asks for more than telling."""
        if self.known.is_news(decision):
            self._announce(DecisionNews(at=assessment.at, decision=decision))
        self.known.decisions[decision.group] = decision
        match decision:
            case _ if decision.group in self._kept_free:
                pass
            case Move() if decision.group in self.known.active:
                # The next evaluation decides anew, from where the run that gave way has left the group.
                self._under_way[decision.group][0].give(decision.reasons)
            case Move() | Shift() | Rejoin() | Protect():
                await self._try_to_start(decision, assessment)
            case Hold() | Ask() | CallPerson():  # pragma: no branch (the union is closed)
                pass

    async def _try_to_start(self, decision: Act, assessment: Assessment) -> None:
        try:
            await self.start(decision, assessment)
        except UnsafePlan as refusal:
            reasons = ("no plan keeps the promises:", *refusal.reasons)
            self._announce(DecisionNews(at=assessment.at, decision=CallPerson(group=decision.group, reasons=reasons)))
            self._failed(decision)
        except (Conflict, StoreUnavailable):
            # The next evaluation looks whether it was opened all the same, and decides again.
            self._hearing.stir()

    def _failed(self, decision: Act) -> None:
        """Remember that a decision led to no run."""
        group, now = decision.group, self._clock.now()
        match decision:
            case Shift():
                back = decision.target == self.known.placements[group].primary
                self.known.failed_shift(group, back=back, now=now)
            case Protect():
                self.known.failed_protection(group, now)
            case Move() | Rejoin():  # pragma: no branch (the union is closed)
                self.known.failed_try(group, now, urged=isinstance(decision, Move) and decision.trigger is not None)

    def plan(self, decision: Act, assessment: Assessment) -> Plan:
        """Return the plan a decision leads to now. Raises `UnsafePlan`."""
        return plan_of(decision, self.situation(decision.group, assessment))

    async def start(self, decision: Act, assessment: Assessment, *, request: str | None = None) -> RunId:
        """Plan, journal and begin a run; the `request` that asked for it is answered by the same commit.

        Raises `UnsafePlan` and `Conflict`: then nothing was begun; and `StoreUnavailable`: then it may have been, which
        is looked for before anything else is decided.
        """
        plan = self.plan(decision, assessment)
        opening = await prepare_run(
            plan,
            store=self._store,
            clock=self._clock,
            decided_by="evac" if isinstance(decision, Rejoin) else decision.decided_by,
            symptom_at=decision.symptom_at if isinstance(decision, Move | Shift) else assessment.at,
            decision=to_plain(decision),
            who=self._who,
            request=request,
        )
        if isinstance(decision, Move):
            take_word(
                opening.journal,
                clock=self._clock,
                by=self._name,
                signer=self._signer,
                reason="; ".join(decision.reasons),
                told=decision.told,
                risks=risks(self.situation(decision.group, assessment)),
            )
        way = Way()
        try:
            begun = await begin(
                opening,
                clock=self._clock,
                by=self._name,
                guard=self.estate.guard,
                announce=self._announce,
                way=way,
                signer=self._signer,
            )
        except StoreUnavailable:
            self._unsure.add(decision.group)
            raise
        run = begun.journal.run.id
        self.known.began(plan, run)
        self._drive(decision.group, run, way=way, begun=begun)
        return run

    async def _look_for_runs(self) -> None:
        """Take up runs whose opening the store took without our hearing of it. Raises `StoreUnavailable`."""
        if self._unsure and not await opener.bar(self._store, self._who):
            return
        for group in tuple(self._unsure):
            active = await self._store.get(f"active/{group}")
            self._unsure.discard(group)
            if active is not None and group not in self.known.active:
                run = await read_run(RunId(active.value.decode()), store=self._store)
                self.known.began(run.plan, run.id)
                self._drive(group, run.id)

    def _drive(self, group: GroupId, run: RunId, *, way: Way | None = None, begun: Execution | None = None) -> None:
        """Let a run go on beside everything else; what was not `begun` just now is taken up from its journal."""
        assert self._runs is not None, "runs are driven by a controller that leads"
        way = way or Way()
        self._under_way[group] = (way, self._runs.create_task(self._see_through(group, run, way, begun)))

    async def start_at_once(self, wished: Callable[[], Move], *, request: str) -> RunId:
        """Begin the move that a person wishes, once the group's run under way, if there is one, has given way to it.

        Raises like `start`, and what `wished` raises.
        """
        move = wished()
        if move.group not in self.known.active:
            return await self.start(move, self.assess(), request=request)
        way, driving = self._under_way[move.group]
        self._kept_free.add(move.group)
        try:
            way.give(move.reasons)
            await asyncio.wait({driving})
            return await self.start(wished(), self.assess(), request=request)
        finally:
            self._kept_free.discard(move.group)

    async def _patiently(self, run_id: RunId, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask again for as long as the store stays away: a run that was begun is never given up."""
        while True:
            try:
                return await ask()
            except StoreUnavailable as trouble:
                _log.warning("the store does not answer: the run waits for it", run=run_id, why=str(trouble))
                await self._clock.sleep(STORE_AGAIN)

    async def _tell_opening(self, run: RunId) -> None:
        """Tell what a run's journal says: the executor tells the entries that it writes itself."""
        opened, *already = await read_journal(run, store=self._store, near=True)
        self._announce(RunNews(at=opened.at, run=run, event=opened, already=tuple(already)))

    async def _see_through(self, group: GroupId, run_id: RunId, way: Way, begun: Execution | None) -> None:
        """See a run through to its settlement, and remember what came of it."""
        if begun is None:
            await self._patiently(run_id, lambda: self._tell_opening(run_id))

        def go_on() -> Awaitable[Run]:
            nonlocal begun
            mine, begun = begun, None  # after an interruption only the journal says how far it came
            return execute(
                run_id,
                store=self._store,
                clock=self._clock,
                by=self._name,
                guard=self.estate.guard,
                announce=self._announce,
                way=way,
                signer=self._signer,
                begun=mine,
            )

        run = await self._patiently(run_id, go_on)
        record = await self._store.get(f"placement/{group}", near=True)
        assert record is not None, "a run has a placement"
        self.known.placements[group] = decode(record.value, Placement)
        self.known.settled(group, run, now=self._clock.now(), guard=self.estate.guard)
        self.known.ended(group)
        del self._under_way[group]
        self._hearing.stir()
