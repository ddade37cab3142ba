"""The Python API: an estate, opened; what the CLI does, as a typed library.

    async with evac.open("estate.yaml") as estate:
        run = await estate.failover("us-east-1", "us-west-2", strategy="immediate")

Intuition: if a controller runs for this estate (`evac serve`), everything is asked of it through the store; if none
does, one runs inside this process for as long as the estate is open. Results are values; what is refused raises
`UnsafePlan` with all reasons.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from evac.config import Loaded
from evac.config.spelling import listed, meant
from evac.core.decision import Move
from evac.core.errors import EvacError, NotThere, UnsafePlan
from evac.core.estate import Estate, GroupId, RegionId
from evac.core.forcing import risks
from evac.core.news import Announce, RunNews, silent
from evac.core.objectives import Forecast, forecast
from evac.core.outlook import Point
from evac.core.plan import Plan, RunKind
from evac.core.planning import plan_move
from evac.core.quiet import Pause, Window, open_windows
from evac.core.readiness import Readiness, readiness
from evac.core.run import Event, Run, RunId, Settled
from evac.core.shifting import comes_home_alone, plan_shift, wished_shift
from evac.core.snapshot import Reply, Request, Snapshot, Wish
from evac.core.steps import Situation
from evac.core.targets import choose
from evac.core.verdict import Assessment
from evac.engine.archive import Archived, Stays, archive, find_archived, read_archived, read_back
from evac.engine.chain import unlink
from evac.engine.clock import BootClock
from evac.engine.codec import decode, encode
from evac.engine.durations import Earlier
from evac.engine.journal import fold_journal, read_journal, read_runs
from evac.engine.leadership import is_led
from evac.engine.outlook import Thought, read_outlook, read_thoughts
from evac.engine.quiet import read_quiet
from evac.engine.requests import ANSWERED_WITHIN, refuse_nonsense
from evac.engine.snapshots import are_published, read_snapshot
from evac.engine.verifying import RunRecord, read_record
from evac.ports import Inspectable, Store, StoreHealth
from evac.records import kept_writes, rebuilt_after
from evac.report.value import Report, report_of

STRATEGIES = ("immediate",)
"""How traffic can be shifted so far: all at once, after the promotion. Gradual and canary shifts are not built yet."""
SNAPSHOT_FRESH = timedelta(seconds=5)


class OpenEstate:
    """An estate that can be asked and told. Made by `open`."""

    def __init__(self, *, loaded: Loaded, store: Store, by: str) -> None:
        self.loaded = loaded
        self._store = store
        self._clock = BootClock()
        self._by = by

    async def is_watched(self, state: Path) -> bool:
        """Return whether a controller leads this estate now: by its lock in the state folder, or its words in a store
        that all share. Raises `StoreUnavailable`.
        """
        return is_led(state) if self.loaded.store is None else await are_published(self._store)

    async def store_health(self) -> StoreHealth | None:
        """Return how the store is, seen from here; None where its kind cannot say."""
        return await self._store.health() if isinstance(self._store, Inspectable) else None

    async def health(self) -> Snapshot:
        """Return the controller's newest view. Raises `EvacError` when it is too old to be acted on."""
        snapshot = await self.last_known()
        age = self._clock.wall() - snapshot.wall
        if age > SNAPSHOT_FRESH:
            raise EvacError(
                f"the controller's last word is {age.total_seconds():.0f} s old: is evac serve running?"
                " start it, or see evac status for what was known"
            )
        return snapshot

    async def last_known(self) -> Snapshot:
        """Return the newest view there is, however old. Raises `EvacError` when there never was one."""
        snapshot = await read_snapshot(self._store)
        if snapshot is None:
            raise EvacError("nothing is known of this estate yet: start evac serve")
        return snapshot

    async def quiet(self) -> tuple[Pause | None, tuple[Window, ...]]:
        """Return the pause and the maintenance that hold now, whether or not whoever leads has heard of them."""
        wall = self._clock.wall()
        pause, called = await read_quiet(self._store)
        holds = pause if pause and pause.holds(wall) else None
        return holds, open_windows(self.loaded.estate.maintenance, called.values(), wall=wall)

    async def plan(
        self,
        source: str | None = None,
        target: str | None = None,
        *,
        kind: str = "failover",
        group: str | None = None,
        accept_loss: bool = False,
    ) -> Plan:
        """Return the plan a move would follow now, without doing anything.

        Raises `UnsafePlan` for what would be refused, `NotThere` for names that the estate does not have.
        """
        known_names(self.loaded.estate, regions=(source, target), group=group)
        snapshot = await self.health()
        situation = self._situation(snapshot, group)
        placement = situation.placement
        wanted = RegionId(target) if target else None
        term = type(placement.term)(placement.term + 1)
        if kind == RunKind.FAILBACK:
            wanted = self.loaded.estate.home[placement.group]
        if kind == RunKind.SHIFT or (kind == RunKind.FAILBACK and comes_home_alone(self.loaded.estate, placement)):
            shift = wished_shift(situation, to=wanted, by=self._by, reasons=("a dry run",))
            return plan_shift(shift, situation, term=term)
        refuse_nonsense(placement, source=source, target=wanted)
        choice = choose(self.loaded.estate, situation.assessment, placement, situation.members, wanted=wanted)
        if choice.target is None:
            raise UnsafePlan(tuple(f"{r.region}: {r.reason}" for r in choice.rejected) or ("there is no other region",))
        move = Move(
            group=placement.group,
            kind=RunKind(kind),
            source=RegionId(source) if source else placement.primary,
            target=choice.target,
            reasons=("a dry run",),
            rejected=choice.rejected,
            accept_loss=accept_loss,
        )
        return plan_move(move, situation, term=term)

    async def forecast(self, plan: Plan) -> Forecast:
        """Return what a plan leads to, by the steps this estate has run before."""
        situation = self._situation(await self.last_known(), plan.group)
        return forecast(
            plan,
            estate=self.loaded.estate,
            assessment=situation.assessment,
            members=situation.members,
            durations=await Earlier(self.loaded.estate).durations(self._store),
        )

    async def objectives(self) -> dict[GroupId, Forecast]:
        """Return for each group what the loss of its primary region would cost now.

        A group that nothing can be planned for is left out, and every group when what is known is too old to plan on.
        What would keep evac from moving it by itself is in `what_ifs`.
        """
        try:
            await self.health()
        except EvacError:
            return {}
        each = [e for thought in await self.what_ifs() for e in thought.each]
        return {e.group: e.forecast for e in each if e.serves and e.forecast is not None}

    async def what_ifs(self) -> tuple[Thought, ...]:
        """Return for each region what its loss would come to, as the controller thought it through last: twice a minute
        while it leads, more often after a change. Nothing before its first time.
        """
        return await read_thoughts(self._store)

    async def past_objectives(self) -> Mapping[str, tuple[Point, ...]]:
        """Return for each group what `objectives` was within the last hour, once a minute, oldest first."""
        return (await read_outlook(self._store)).past

    async def risks(self, group: str | None = None) -> tuple[str, ...]:
        """Return what may go wrong if a group is moved now with `accept_loss`, sentence by sentence."""
        return risks(self._situation(await self.health(), group))

    async def readiness(self, group: str | None = None) -> tuple[Readiness, ...]:
        """Return for each region how ready it is to hold a group's primaries, what blocks it, what would help."""
        situation = self._situation(await self.health(), group)
        return readiness(self.loaded.estate, situation.assessment, situation.placement, situation.members)

    def _situation(self, snapshot: Snapshot, group: str | None) -> Situation:
        placements = {p.group: p for p in snapshot.placements}
        names = ", ".join(sorted(self.loaded.estate.home))
        chosen = GroupId(group) if group else next(iter(placements), None) if len(placements) == 1 else None
        if chosen is None or chosen not in placements:
            missing = [f"{g}: {'; '.join(why)}" for g, why in snapshot.unplaced.items()]
            raise UnsafePlan((f"name a group whose primaries are known, of: {names}", *missing))
        return Situation(
            estate=self.loaded.estate,
            assessment=Assessment(
                at=snapshot.at,
                verdicts={v.region: v for v in snapshot.verdicts},
                voiceless={RegionId(r): why for r, why in snapshot.voiceless.items()},
            ),
            members={(m.component, m.region): m for m in snapshot.members},
            placement=placements[chosen],
        )

    async def failover(
        self,
        source: str,
        target: str | None = None,
        *,
        strategy: str = "immediate",
        group: str | None = None,
        accept_loss: bool = False,
        reason: str = "",
    ) -> Run:
        """Move a group out of a region that fails, and return the settled run. Raises `UnsafePlan` when refused.

        `accept_loss` takes the place of a fence that cannot be had: only when you know that the old primary writes no
        more. It is recorded, with your name.
        """
        _known_strategy(strategy)
        return await self._move(Wish.FAILOVER, source, target, group=group, accept_loss=accept_loss, reason=reason)

    async def switchover(
        self, target: str | None = None, *, strategy: str = "immediate", group: str | None = None, reason: str = ""
    ) -> Run:
        """Move a healthy group to another region without losing a write, and return the settled run."""
        _known_strategy(strategy)
        return await self._move(Wish.SWITCHOVER, None, target, group=group, reason=reason)

    async def failback(self, *, strategy: str = "immediate", group: str | None = None, reason: str = "") -> Run:
        """Move a group back to its home region, and return the settled run.

        Where only its clients enter elsewhere, only they are sent back.
        """
        _known_strategy(strategy)
        return await self._move(Wish.FAILBACK, None, None, group=group, reason=reason)

    async def shift(self, target: str | None = None, *, group: str | None = None, reason: str = "") -> Run:
        """Send a group's clients in by another region's door, its primaries staying; return the settled run."""
        return await self._move(Wish.SHIFT, None, target, group=group, reason=reason)

    async def _move(
        self,
        wish: Wish,
        source: str | None,
        target: str | None,
        *,
        group: str | None,
        accept_loss: bool = False,
        reason: str = "",
    ) -> Run:
        run = await self.ask(wish, group=group, region=source, target=target, accept_loss=accept_loss, reason=reason)
        assert run is not None, "a move starts a run"
        return await self.settled(run)

    async def ask(
        self,
        wish: Wish,
        *,
        group: str | None = None,
        region: str | None = None,
        target: str | None = None,
        accept_loss: bool = False,
        told: Sequence[str] = (),
        reason: str = "",
        run: str | None = None,
        lasting: timedelta | None = None,
    ) -> RunId | None:
        """Ask the controller, and return the run it started, if any.

        `region` is the one to leave, to rebuild or to work on, `run` the stuck one to call resolved, `lasting` for how
        long automation is to be off or work is expected; `told` is what was shown to whoever accepts a loss, which is
        kept with that person's word (`risks` gives it). Raises `UnsafePlan` when the controller refuses, `NotThere` for
        names that the estate does not have, `EvacError` when nobody answers.
        """
        known_names(self.loaded.estate, regions=(region, target), group=group)
        request = Request(
            id=uuid.uuid4().hex,
            wish=wish,
            by=self._by,
            wall=self._clock.wall(),
            group=GroupId(group) if group else None,
            region=RegionId(region) if region else None,
            target=RegionId(target) if target else None,
            accept_loss=accept_loss,
            told=tuple(told),
            reason=reason,
            run=RunId(run) if run else None,
            lasting=lasting,
        )
        reply = await self._answered(request)
        if reply.refused:
            raise UnsafePlan(reply.refused)
        return reply.run

    async def _answered(self, request: Request) -> Reply:
        """Put a request where the controller finds it, and return its answer. Raises `EvacError` when none comes."""
        reply_key = f"replies/{request.id}"
        after = await self._store.revision()
        await self._store.commit(expect={}, put={f"requests/{request.id}": encode(request)})
        try:
            async with asyncio.timeout(ANSWERED_WITHIN.total_seconds()):
                async for change in self._store.watch(reply_key, after=after):
                    if change.record is not None:
                        break
        except TimeoutError:
            await self._store.commit(expect={}, put={}, delete=(f"requests/{request.id}",))
            raise EvacError(
                "the controller did not answer; the request was taken back: is evac serve running?"
            ) from None
        assert change.record is not None, "the loop ends with a record"
        reply = decode(change.record.value, Reply)
        await self._store.commit(expect={}, put={}, delete=(reply_key,))
        return reply

    async def settled(self, run_id: RunId, announce: Announce = silent) -> Run:
        """Wait for a run's end, telling each entry of its journal as it comes, and return it."""
        told = 0
        async for _ in self.changes(f"runs/{run_id}/"):
            events = await read_journal(run_id, store=self._store)
            for event in events[told:]:
                announce(RunNews(at=event.at, run=run_id, event=event))
            told = len(events)
            if isinstance(events[-1], Settled):
                return fold_journal(events)
        raise AssertionError("a watch has no end")

    async def changes(self, prefix: str) -> AsyncIterator[None]:
        """Yield once at first, and then at every change under a prefix of the store, without end."""
        after = await self._store.revision()
        yield
        async for _ in self._store.watch(prefix, after=after):
            yield

    async def runs(self) -> Sequence[Run]:
        """Return every run, oldest first."""
        return await read_runs(self._store)

    async def archived(self) -> Sequence[Archived]:
        """Return what stays of the runs that were archived, oldest first."""
        return await read_archived(self._store)

    async def archive(self, folder: Path, *, older_than: timedelta) -> tuple[Sequence[Archived], Sequence[Stays]]:
        """Take settled runs of that age out of the store, each into a file in a folder that `evac verify` accepts.

        Returns those that were archived, and those that stay, with the reason. Raises like `engine.archive.archive`.
        """
        wall, name = self._clock.wall(), self.loaded.estate.name
        before = wall - older_than
        return await archive(folder, before=before, estate=name, store=self._store, by=self._by, wall=wall)

    async def report(self, run: str) -> Report:
        """Return the report of a run. Raises `EvacError` when there is no such run."""
        events = await self._journal(RunId(run))
        plan = fold_journal(events).plan
        rebuilt = await rebuilt_after(RunId(run), plan, store=self._store)
        rejoined = await self._journal(rebuilt) if rebuilt else ()
        kept = await kept_writes(*events, *rejoined)
        return report_of(events, estate=self.loaded.estate, rejoined=rejoined, kept=kept)

    async def record(self, run: str) -> RunRecord:
        """Return a run's record, which can be verified anywhere (`evac.engine.verifying`); of one that was archived,
        what its file holds. Raises `NotThere`.
        """
        if gone := await find_archived(RunId(run), store=self._store):
            return await asyncio.to_thread(read_back, gone)
        return await read_record(RunId(run), estate=self.loaded.estate.name, store=self._store)

    async def has_run(self, run: str) -> None:
        """Raise `NotThere` when a run was never opened."""
        if not await self._store.list(f"runs/{run}/") and await find_archived(RunId(run), store=self._store) is None:
            raise NotThere(f"there is no run {run}; evac runs lists them")

    async def _journal(self, run: RunId) -> tuple[Event, ...]:
        """A run's journal, from the store or from the file it went into. Raises `NotThere`."""
        record = await self.record(run)
        if record.damage:
            raise NotThere(f"run {run} cannot be told: {'; '.join(record.damage)}; evac verify {run} shows what holds")
        return tuple([unlink(line).event for line in record.entries])


def known_names(estate: Estate, *, regions: Iterable[str | None] = (), group: str | None = None) -> None:
    """Raise `NotThere` for a region or a group that the estate does not have."""
    for what, names, there in (("region", regions, estate.regions), ("group", (group,), estate.home)):
        known: list[str] = [*there]
        for name in names:
            if name is not None and name not in known:
                hint = f"{meant(name, known)}; there are: {listed(known)}"
                raise NotThere(f"there is no {what} {name} in this estate{hint}")


def _known_strategy(strategy: str) -> None:
    if strategy not in STRATEGIES:
        raise UnsafePlan((f"strategy {strategy} is not built yet; there is: {', '.join(STRATEGIES)}",))
