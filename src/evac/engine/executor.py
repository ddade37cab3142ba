"""The executor: takes one run to its settlement, through any number of crashes.

Intuition: three movements in a circle. Say what follows from the run's state (`core.effects`), write it to the journal
together with the orders it gives, in as few commits as take them; wait for an answer or for a time limit; note what
came. Only here is anything decided, and only by asking the core, so steps side by side need no locks.

After a crash the same circle starts at the journal: old orders are taken away, their answers kept, the term is raised,
and what has no answer is ordered anew under the new term. The agent looks before it acts, so nothing is done twice.

What this is not: the agent's half (`engine.orders`), or when and why a run is opened (`engine.controller`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import timedelta

from evac.core.effects import Do, Effect, Settle, Undo, effects
from evac.core.errors import Conflict, StoreUnavailable
from evac.core.news import Announce, RunNews, silent
from evac.core.observation import Instant, Json
from evac.core.plan import StepId, Term
from evac.core.policy import Guard
from evac.core.run import Done, Event, Failed, Failure, Outcome, Run, RunId, Settled, Started
from evac.core.steps import patience
from evac.engine.codec import decode, encode
from evac.engine.journal import Journal, raised, take_journal
from evac.engine.memories import carried_on
from evac.engine.opening import Opening
from evac.engine.orders import LOOK_TIMEOUT, Answer, Order
from evac.engine.signing import Signer, sealed
from evac.ports import Clock, Record, Store

ANSWER_GRACE = LOOK_TIMEOUT + timedelta(seconds=2)
"""How much longer than the step itself its answer is waited for: a look, and two ways through the store. An order that
only looks takes no longer than this."""
INTERRUPTIONS_MAX = 100
"""How often a run goes on after the store did not answer, before that is raised."""
AT_ONCE = 20
"""So many answers, and so many new orders, go in one commit: an answer is an entry and two keys taken away, an order an
entry and a key, and a commit has no more than `COMMIT_WRITES_MAX`.
"""
PAUSE = timedelta(milliseconds=100)
PAUSE_MAX = timedelta(seconds=5)
PAUSE_DOUBLINGS_MAX = 10


class Way:
    """Asks a run under way to give way, for reasons that its journal will name. One that cannot does not hear it."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.reasons: tuple[str, ...] = ()

    def give(self, reasons: tuple[str, ...]) -> None:
        """Ask for it; once is enough."""
        self.reasons = self.reasons or reasons
        self.asked.set()


async def begin(
    opening: Opening,
    *,
    clock: Clock,
    by: str,
    guard: Guard,
    announce: Announce = silent,
    way: Way | None = None,
    signer: Signer | None = None,
) -> Execution:
    """Open a run together with its first orders, in one commit, and return what goes on with it; the arguments are
    those of `execute`.

    Raises `Conflict` when what the opening rests on has changed: nothing was written; and `StoreUnavailable`: then the
    run may have been opened, and its orders may be carried out.
    """
    execution = Execution(
        journal=opening.journal,
        clock=clock,
        by=by,
        guard=guard,
        announce=announce,
        way=way or Way(),
        signer=signer,
    )
    await execution.begin(opening)
    return execution


async def execute(
    run_id: RunId,
    *,
    store: Store,
    clock: Clock,
    by: str,
    guard: Guard,
    announce: Announce = silent,
    way: Way | None = None,
    signer: Signer | None = None,
    begun: Execution | None = None,
) -> Run:
    """Take a run to its settlement and return it; at once if it is settled. `by` names this controller's process,
    `guard` is what its end is remembered by, and `signer` seals the journal there. `begun` is what `begin` returned of
    this run: it is gone on with.

    Raises `Conflict` when another controller has taken the run over, and `StoreUnavailable` when the store stays away;
    the run then stands where its journal says, and whoever executes it next goes on from there.
    """
    held: Term | None = None
    for interruption in range(INTERRUPTIONS_MAX):
        try:
            if begun is not None and interruption == 0:
                held = begun.journal.run.term
                return await begun.drive()
            journal = await take_journal(run_id, store=store, near=interruption == 0)
            if held is not None and journal.run.term > held and journal.run.resumed[-1].by != by:
                raise Superseded(f"run {run_id} was taken over by {journal.run.resumed[-1].by}")
            held = journal.run.term
            execution = Execution(
                journal=journal,
                clock=clock,
                by=by,
                guard=guard,
                announce=announce,
                way=way or Way(),
                signer=signer,
            )
            await execution.take_up()
            return await execution.drive()
        except Superseded:
            raise
        except (StoreUnavailable, Conflict):
            # What was written is in the journal, whether or not its commit was seen to succeed: read it and go on.
            await clock.sleep(min(PAUSE * 2 ** min(interruption, PAUSE_DOUBLINGS_MAX), PAUSE_MAX))
    raise StoreUnavailable(
        f"run {run_id}: interrupted {INTERRUPTIONS_MAX} times by the store; its journal says how far"
    )


class Superseded(Conflict):
    """Another controller has taken the run over: this one has nothing more to say in it."""


@dataclass(slots=True, kw_only=True)
class Execution:
    """One stretch of a run between two interruptions."""

    journal: Journal
    clock: Clock
    by: str
    guard: Guard
    announce: Announce
    way: Way
    signer: Signer | None
    waiting: dict[str, Order] = field(default_factory=dict)
    """The orders without an answer, by the key their answer will have."""
    expect: dict[str, int] = field(default_factory=dict)
    """What must still hold for what was noted to be written."""
    put: Mapping[str, bytes] = field(default_factory=dict)
    """What else the next write writes."""
    delete: Collection[str] = ()
    """What else it takes away."""
    answered: list[Order] = field(default_factory=list)
    """Orders whose answer, or the lack of one, was noted: they are taken away with the next write."""

    async def begin(self, opening: Opening) -> None:
        """Go round for the first time: the write that opens the run gives its first orders."""
        self.expect, self.put, self.delete = dict(opening.expect), opening.put, opening.delete
        await self._proceed()

    async def take_up(self) -> None:
        """Go round for the first time with a run that was opened before."""
        run = self.journal.run
        if run.settled is None:
            if run.entries > 1:
                await self._resume()
            await self._go_on()

    async def drive(self) -> Run:
        """Go round the circle until the run is settled."""
        while self.journal.run.settled is None:
            await self._hear()
            await self._go_on()
        return self.journal.run

    async def _go_on(self) -> None:
        if self._gives_way:
            await self._give_way()
        await self._proceed()

    async def _resume(self) -> None:
        """Take the old orders back, note the answers that came while nobody listened, and raise the term: last, so that
        no agent ever finds an order of an ended term.
        """
        for step, undo, progress in self.journal.run.under_way:
            order = self._order(step, progress.attempt, undo=undo, term=progress.term)
            answer = await self.journal.store.get(order.answer_key)
            await self._make_room()
            self.answered.append(order)
            if answer is None:
                self.expect[order.answer_key] = 0
            else:
                self._note_answer(order, answer)
        resumed, self.put = raised(self.journal, clock=self.clock, by=self.by)
        self.journal.note(resumed)

    async def _proceed(self) -> None:
        """Write what was noted, what follows from it, and the orders: in one commit, unless it is too much for one."""
        due = effects(self.journal.run)
        for begun in range(0, max(len(due), 1), AT_ONCE):
            await self._write([order for e in due[begun : begun + AT_ONCE] if (order := self._follow(e))])

    def _follow(self, effect: Effect) -> Order | None:
        """Note an effect, and return the order that it is, if it is one."""
        match effect:
            case Do() | Undo():
                return self._start(effect)
            case Settle():  # pragma: no branch (the union is closed)
                self._settle(effect)
                return None

    async def _write(self, orders: Sequence[Order] = ()) -> None:
        """Write what was noted, and these orders, in one commit, and tell of it. With a run's end goes what it means
        for the next decision.
        """
        if self.journal.run.settled is not None:
            key, version, memory = await carried_on(self.journal.run, store=self.journal.store, guard=self.guard)
            self.expect[key], self.put = version, {**self.put, key: memory}
        written = await self.journal.write(
            expect=self.expect,
            put={**self.put, **{o.key: encode(o) for o in orders}},
            delete=[*self.delete, *(key for o in self.answered for key in (o.key, o.answer_key))],
        )
        self.waiting.update({o.answer_key: o for o in orders})
        self.expect, self.put, self.delete, self.answered = {}, {}, (), []
        for event in written:
            self.announce(RunNews(at=event.at, run=self.journal.run.id, event=event))

    async def _make_room(self) -> None:
        """Write what was noted of answers if no commit would take more."""
        if len(self.answered) >= AT_ONCE:
            await self._write()

    @property
    def _gives_way(self) -> bool:
        run = self.journal.run
        asked = self.way.asked.is_set() and run.plan.gives_way
        return asked and not any(isinstance(effect, Settle) for effect in effects(run))

    async def _give_way(self) -> None:
        """Note that the run is left where it stands; its orders are taken back before that is written, or with it."""
        while self.waiting:
            await self._make_room()
            self.answered.append(self.waiting.popitem()[1])
        self._settle(Settle(outcome=Outcome.GAVE_WAY, reasons=self.way.reasons))

    def _start(self, effect: Do | Undo) -> Order:
        """Note an intent, and return its order."""
        run = self.journal.run
        undo = isinstance(effect, Undo)
        self.journal.note(
            Started(at=self.clock.now(), step=effect.step, attempt=effect.attempt, term=run.term, undo=undo)
        )
        order = self._order(effect.step, effect.attempt, undo=undo, term=run.term)
        order = replace(order, intent=self.journal.head)
        return order if isinstance(effect, Undo) else replace(order, doubt=effect.doubt, look=effect.look)

    def _settle(self, effect: Settle) -> None:
        now, wall = self.clock.now(), self.clock.wall()
        end = Settled(at=now, wall=wall, outcome=effect.outcome, reasons=effect.reasons)
        if self.signer is not None:
            end = sealed(end, self.signer, run=self.journal.run.id, before=self.journal.head, by=self.by)
        self.journal.note(end)

    def _order(self, step_id: StepId, attempt: int, *, undo: bool, term: Term) -> Order:
        """The order of a try: the step's action at the run's term, with its component's receipts that it rests on."""
        run = self.journal.run
        step = run.plan.step(step_id)
        own = [s.id for s in run.plan.graph.of[step.action.component] if step.waits_for(s)]
        given: dict[str, Json] = {n: receipt.facts for n in own if (receipt := run.receipt(n)) is not None}
        args: dict[str, Json] = {**step.action.args, "receipts": given}
        done = run.receipt(step_id)
        if undo and done is not None:
            args["receipt"] = done.facts
        return Order(
            run=run.id,
            group=run.plan.group,
            step=step_id,
            attempt=attempt,
            action=replace(step.action, term=term, args=args),
            timeout=(undo and step.undo_timeout) or step.timeout,
            patience=timedelta() if undo else patience(step),
            undo=undo,
        )

    async def _hear(self) -> None:
        """Wait until an order is answered, and note all answers there are; or until an order's time is over, or the run
        is asked to give way.
        """
        at = min(self._deadline(o) for o in self.waiting.values())
        try:
            async with asyncio.timeout((at - self.clock.now()).total_seconds()):
                await self._stir()
        except TimeoutError:
            await self._give_up(at)
            return
        for record in await self.journal.store.list("answers/", near=True):
            if order := self.waiting.pop(record.key, None):
                await self._make_room()
                self._note_answer(order, record)

    async def _stir(self) -> None:
        """Return when an awaited answer has been written, or a run that can give way is asked to."""
        waits: list[asyncio.Future[object]] = [asyncio.ensure_future(self._news())]
        if self.journal.run.plan.gives_way:
            waits.append(asyncio.ensure_future(self.way.asked.wait()))
        try:
            ended, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        for wait in ended:
            wait.result()

    async def _news(self) -> None:
        """Return when one of the awaited answers has been written."""
        async with aclosing(self.journal.store.watch("answers/", after=self.journal.position)) as changes:
            async for change in changes:
                self.journal.position = change.revision
                if change.record is not None and change.key in self.waiting:
                    return

    def _deadline(self, order: Order) -> Instant:
        return self._started_at(order) + (timedelta() if order.look else order.timeout + order.patience) + ANSWER_GRACE

    def _started_at(self, order: Order) -> Instant:
        run = self.journal.run
        return (run.undoes if order.undo else run.does)[order.step].started_at

    async def _give_up(self, at: Instant) -> None:
        """Note that the orders due by `at` have no answer. If one comes all the same, the write fails."""
        for key, order in list(self.waiting.items()):
            if self._deadline(order) > at:
                continue
            await self._make_room()
            del self.waiting[key]
            self.expect[key] = 0
            said = f"no answer from {order.action.region} in {(at - self._started_at(order)).total_seconds():g} s"
            self._note(order, Answer(failure=Failure.INDETERMINATE, reason=said))

    def _note_answer(self, order: Order, record: Record) -> None:
        self.expect[record.key] = record.version
        self._note(order, decode(record.value, Answer))

    def _note(self, order: Order, answer: Answer) -> None:
        """Note how a try ended."""
        at = self.clock.now()
        if order not in self.answered:
            self.answered.append(order)
        if answer.receipt is not None:
            event: Event = Done(
                at=at,
                step=order.step,
                attempt=order.attempt,
                receipt=answer.receipt,
                undo=order.undo,
                signature=answer.signature,
            )
        else:
            assert answer.failure is not None, "an answer has a receipt or a failure"
            event = Failed(
                at=at,
                step=order.step,
                attempt=order.attempt,
                failure=answer.failure,
                reason=answer.reason,
                undo=order.undo,
            )
        self.journal.note(event)
