"""Orders: how the leader's wishes reach a region's agent, and how its answers come back, all through the store.

Intuition: an order is a record under its region, written in the same commit as the intent in the journal. The agent
asks the member whether the effect holds already, and only then does it; so an order that comes twice is done once. The
answer is written only if the order is still there: what the leader has given up on is never answered later.

    orders/<region>/<run>.<step>.<attempt>[.undo]      written and taken away by the leader
    answers/<region>/<run>.<step>.<attempt>[.undo]     written once by the agent
    terms/<group>                                      the group's term, raised with the orders that it is for

What this is not: the leader's half (`engine.executor`), or a judge of failures (`core.effects`).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar

import structlog

from evac.core.errors import Conflict, EvacError, Rejected, StoreUnavailable, Unavailable
from evac.core.estate import ComponentId, GroupId, RegionId
from evac.core.evidence import Testimony
from evac.core.plan import Action, StepId, Term, Verb
from evac.core.run import Failure, Receipt, RunId, Signature
from evac.engine.codec import decode, encode
from evac.engine.recency import Recency
from evac.engine.signing import Signer
from evac.ports import Clock, Driver, Holds, Record, Store, Truth

T = TypeVar("T")

LOOK_TIMEOUT = timedelta(seconds=3)
"""How long a look before an effect may take; then the effect counts as not seen."""
HARMS_WHEN_LATE = frozenset({Verb.SWITCH_OFF, Verb.PROMOTE, Verb.PROTECT, Verb.REJOIN})
"""What could make a second writer, or lose writes, at a member that has not heard of a newer term."""
FRESH_MAX = timedelta(seconds=1)
"""An order that was written no longer ago than this counts as standing. It is less than a leader's lease lasts after
its last renewal: hardly anybody can have taken the order back."""
STORE_TRIES_MAX = 12
"""How often a store that does not answer is asked, about a minute in all."""
AGAIN_AFTER = timedelta(milliseconds=200)
"""After so long an order with patience is begun again at a member that could not be reached."""
RETRY_AFTER = timedelta(milliseconds=50)
RETRY_AFTER_MAX = timedelta(seconds=10)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One try of a step. `doubt` and `look` are `core.effects.Do`'s; the term is the action's. `intent` is the digest
    of the journal's entry that it rests on, which the receipt's signature covers, and all entries before with it.
    """

    run: RunId
    group: GroupId
    step: StepId
    attempt: int
    action: Action
    timeout: timedelta
    patience: timedelta = timedelta()
    """How long it is begun again where the member cannot be reached, before that is the answer."""
    undo: bool = False
    doubt: bool = False
    look: bool = False
    intent: str = ""

    @property
    def key(self) -> str:
        return f"orders/{self._tail}"

    @property
    def answer_key(self) -> str:
        return f"answers/{self._tail}"

    @property
    def term(self) -> Term:
        return self.action.term

    @property
    def _tail(self) -> str:
        return f"{self.action.region}/{self.run}.{self.step}.{self.attempt}" + (".undo" if self.undo else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of an order: a receipt and its signature, or a failure and its reason."""

    receipt: Receipt | None = None
    signature: Signature | None = None
    failure: Failure | None = None
    reason: str = ""


async def obey(
    region: RegionId,
    *,
    store: Store,
    members: Mapping[ComponentId, Driver],
    clock: Clock,
    chance: random.Random | None = None,
    signer: Signer | None = None,
    recency: Recency | None = None,
) -> None:
    """Carry out the orders for a region, until cancelled. What an earlier agent left undone comes first.

    Receipts are signed by `signer`; without one, as in a rehearsal, nobody vouches for them. `recency` knows what the
    same process has committed; without it every order that could do harm late is asked for in all copies of the store.

    A member does one thing at a time; members work side by side. While the store does not answer, nothing new is
    begun, and what was begun is told when it answers again.
    """
    chance = chance or random.Random()
    desk = _Desk(
        region=region,
        store=store,
        members=members,
        clock=clock,
        chance=chance,
        signer=signer,
        recency=recency or Recency(),
    )
    async with asyncio.TaskGroup() as tasks:
        while True:
            try:
                await desk.listen(tasks)
            except StoreUnavailable:
                await clock.sleep(desk.pause(attempt=1))


class _Desk:
    """One agent's orders: those it has taken, and what it needs to carry them out."""

    def __init__(
        self,
        *,
        region: RegionId,
        store: Store,
        members: Mapping[ComponentId, Driver],
        clock: Clock,
        chance: random.Random,
        signer: Signer | None,
        recency: Recency,
    ) -> None:
        self._region = region
        self._store = store
        self._members = members
        self._clock = clock
        self._chance = chance
        self._signer = signer
        self._recency = recency
        self._taken: dict[str, int] = {}
        """Orders in hand or answered, by key, with the version taken."""
        self._busy = {component: asyncio.Lock() for component in members}
        self._at_work: dict[ComponentId, tuple[Order, asyncio.Task[None]]] = {}
        """What each member does now."""
        self._terms: dict[GroupId, int] = {}
        """The highest terms obeyed by this process."""

    async def listen(self, tasks: asyncio.TaskGroup) -> None:
        """Take every order there is, and every one that comes. Raises `StoreUnavailable`."""
        prefix = f"orders/{self._region}/"
        after = await self._store.revision()
        standing = await self._store.list(prefix)
        for key in self._taken.keys() - {record.key for record in standing}:
            del self._taken[key]
        for record in standing:
            self._take(record, tasks, found=True)
        async for change in self._store.watch(prefix, after=after):
            if change.record is None:
                self._taken.pop(change.key, None)
            else:
                self._take(change.record, tasks, found=False)

    def pause(self, *, attempt: int) -> timedelta:
        """Return how long to wait before asking a store again that did not answer: doubling, jittered, bounded."""
        full: timedelta = min(RETRY_AFTER * 2 ** (attempt - 1), RETRY_AFTER_MAX)
        return full * self._chance.uniform(0.5, 1.0)

    def _take(self, record: Record, tasks: asyncio.TaskGroup, *, found: bool) -> None:
        """Begin an order unless it is in hand. One that was `found` may have been begun by an agent that died."""
        if self._taken.get(record.key) == record.version:
            return
        self._taken[record.key] = record.version
        try:
            order = decode(record.value, Order)
        except ValueError as trouble:  # the leader's time limit passes, and it says what was not answered
            _log.error("an order cannot be read: run one version of evac everywhere", why=str(trouble))
            return
        tasks.create_task(self._work(replace(order, doubt=order.doubt or found), record), name=f"order {record.key}")

    async def _work(self, order: Order, record: Record) -> None:
        """See one order through: do it unless it was taken back meanwhile, and answer it."""
        try:
            member = self._members.get(order.action.component)
            if member is None:
                reason = f"{order.action.component} has no member in {self._region}"
                return await self._answer(order, record, Answer(failure=Failure.REJECTED, reason=reason))
            self._interrupt_for(order)
            async with self._busy[order.action.component]:
                answer = await self._at_member(order, record, member)
            if answer is not None:
                await self._answer(order, record, self._signed(order, answer))
        except StoreUnavailable:
            # The answer is not told: the leader's time limit passes, it asks again, and the look finds what was done.
            self._taken.pop(record.key, None)

    def _interrupt_for(self, order: Order) -> None:
        """Leave off a rebuild for a run that has taken its order back, so that another run's need not wait for hours.
        What is left off is what an agent that dies leaves behind. All else ends soon, and must have ended before the
        next order looks: a promotion goes on in the server when nobody waits for it.
        """
        now = self._at_work.get(order.action.component)
        if now is None or now[0].action.verb is not Verb.REJOIN:
            return
        if now[0].run != order.run and now[0].key not in self._taken:
            now[1].cancel()

    async def _at_member(self, order: Order, record: Record, member: Driver) -> Answer | None:
        """Carry an order out, as the only one at its member; None if it does not stand any more. That is asked last:
        a store may have kept silent for a minute before it.
        """
        refused = await self._patiently(lambda: self._admit(order))
        if not await self._stands(order, record):
            return None
        task = asyncio.current_task()
        assert task is not None, "orders are carried out in tasks of their own"
        self._at_work[order.action.component] = (order, task)
        try:
            return refused or await self._insist(order, record, member)
        finally:
            del self._at_work[order.action.component]

    async def _insist(self, order: Order, record: Record, member: Driver) -> Answer:
        """Carry an order out, again and again for its patience while the member is not there and the order stands.

        An earlier try may have happened where the order is in doubt, and the last look could not tell: that it could
        not be reached now says nothing of that.
        """
        until = self._clock.now() + order.patience
        answer, seen = await _carry_out(order, member)
        while answer.failure is Failure.UNAVAILABLE and not order.look and self._clock.now() < until:
            await self._clock.sleep(AGAIN_AFTER)
            if self._taken.get(record.key) != record.version:
                break
            answer, seen = await _carry_out(order, member)
        if order.doubt and seen is Truth.UNKNOWN and answer.failure is not None:
            return replace(answer, failure=Failure.INDETERMINATE)
        return answer

    def _signed(self, order: Order, answer: Answer) -> Answer:
        """The answer, its receipt signed."""
        if answer.receipt is None or self._signer is None:
            return answer
        said = Testimony(
            estate=self._signer.estate,
            run=order.run,
            step=order.step,
            attempt=order.attempt,
            undo=order.undo,
            component=order.action.component,
            region=order.action.region,
            verb=order.action.verb,
            term=order.term,
            intent=order.intent,
            kind=answer.receipt.kind,
            facts=answer.receipt.facts,
            by=self._region,
            wall=self._clock.wall(),
        )
        return replace(answer, signature=self._signer.sign(said))

    async def _stands(self, order: Order, record: Record) -> bool:
        """Whether the order is still there, and unanswered: an earlier agent's answer may not be read yet.

        An agent that was frozen or cut off, together with the nearest copy of the store, would find an order there that
        has long been taken back. Where that could do harm, all copies are asked, unless the order is known to be young:
        so is an undo, which lets the old primary go.
        """
        harmless = not order.undo and order.action.verb not in HARMS_WHEN_LATE
        if order.doubt and await self._patiently(lambda: self._store.get(order.answer_key)) is not None:
            return False
        now = await self._patiently(lambda: self._store.get(order.key, near=harmless or self._is_fresh(record)))
        return now is not None and now.version == record.version

    def _is_fresh(self, record: Record) -> bool:
        age_max = self._recency.age_max(record.version, now=self._clock.now())
        return age_max is not None and age_max <= FRESH_MAX

    async def _admit(self, order: Order) -> Answer | None:
        """Refuse an order whose term is over: of lower term than one obeyed, or than the group's, which is raised by
        the same commit that orders anything under it.
        """
        raised = await self._store.get(f"terms/{order.group}", near=True)
        highest = max(self._terms.get(order.group, 0), decode(raised.value, int) if raised else 0)
        if order.term < highest:
            reason = f"the order's term {order.term} is over: {order.group} is at term {highest}"
            return Answer(failure=Failure.REJECTED, reason=reason)
        self._terms[order.group] = order.term
        return None

    async def _answer(self, order: Order, record: Record, answer: Answer) -> None:
        """Write the answer, if the order still stands and has none."""
        try:
            await self._patiently(
                lambda: self._store.commit(
                    expect={order.key: record.version, order.answer_key: 0},
                    put={order.answer_key: encode(answer)},
                )
            )
        except Conflict:
            # Taken back by the leader, or written by the try before whose reply was lost: both need no answer more.
            return

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask the store, again when it does not answer. Raises `StoreUnavailable` after `STORE_TRIES_MAX`."""
        for attempt in range(1, STORE_TRIES_MAX):
            try:
                return await ask()
            except StoreUnavailable:
                await self._clock.sleep(self.pause(attempt=attempt))
        return await ask()


async def _carry_out(order: Order, member: Driver) -> tuple[Answer, Truth]:
    """Look, then do; or only look; or undo. Return what came of it, and whether a look had seen the effect before: NO
    where none was needed.

    An order that nobody can have begun is done without a look: over a long link the look costs as much as the deed, and
    `do` is idempotent and guarded by the term at the target (docs/adr/0007).
    """
    if order.undo:
        return await _try(member.undo(order.action), order.timeout), Truth.NO
    if order.attempt == 1 and not (order.doubt or order.look):
        return await _try(member.do(order.action), order.timeout), Truth.NO
    seen = await _look(member, order.action)
    if seen.truth is Truth.YES and seen.receipt is not None:
        return Answer(receipt=seen.receipt), Truth.YES
    if order.look:
        failure = Failure.UNAVAILABLE if seen.truth is Truth.NO else Failure.INDETERMINATE
        return Answer(failure=failure, reason=seen.reason or "looked: it has not happened"), seen.truth
    return await _try(member.do(order.action), order.timeout), seen.truth


async def _look(member: Driver, action: Action) -> Holds:
    """Ask whether the effect holds; whatever keeps it from being seen is UNKNOWN."""
    try:
        async with asyncio.timeout(LOOK_TIMEOUT.total_seconds()):
            return await member.holds(action)
    except TimeoutError:
        return Holds(truth=Truth.UNKNOWN, reason=f"a look took longer than {LOOK_TIMEOUT.total_seconds():g} s")
    except Exception as error:
        return Holds(truth=Truth.UNKNOWN, reason=_say(error))


async def _try(effect: Awaitable[Receipt], timeout: timedelta) -> Answer:
    """Await an effect. What a driver may not raise is taken as the worst: it may have happened."""
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            return Answer(receipt=await effect)
    except TimeoutError:
        return Answer(failure=Failure.INDETERMINATE, reason=f"not done within {timeout.total_seconds():g} s")
    except Rejected as error:
        return Answer(failure=Failure.REJECTED, reason=_say(error))
    except Unavailable as error:
        return Answer(failure=Failure.UNAVAILABLE, reason=_say(error))
    except Exception as error:
        return Answer(failure=Failure.INDETERMINATE, reason=_say(error))


def _say(error: Exception) -> str:
    """A driver's own words; of an error it should not have raised, the class as well."""
    return str(error) if isinstance(error, EvacError) else f"{type(error).__name__}: {error}"
