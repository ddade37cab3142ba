"""The Valkey driver: observe, check, and one function a verb."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import TypeAlias

from evac.core.errors import DriverError
from evac.core.estate import RegionId
from evac.core.observation import Json, MemberRole, MemberState
from evac.core.plan import Action, Verb
from evac.core.run import Receipt
from evac.drivers.valkey import fence, process, rejoin, succession
from evac.drivers.valkey.member import Member
from evac.drivers.valkey.session import Look
from evac.drivers.valkey.settings import ValkeySettings
from evac.ports import Driver, Finding, Holds, Support, Surroundings, Truth

Act: TypeAlias = Callable[[Member, Action], Awaitable[Receipt]]
Held: TypeAlias = Callable[[Member, Look, Action], "Receipt | None"]

_DO: Mapping[Verb, Act] = {
    Verb.PREPARE: succession.prepare,
    Verb.STOP: fence.stop,
    Verb.REFUSE: fence.refuse,
    Verb.CATCH_UP: succession.catch_up,
    Verb.PROMOTE: succession.promote,
    Verb.FOLLOW: succession.follow,
    Verb.PROTECT: succession.protect,
    Verb.VERIFY: succession.verify,
    Verb.REJOIN: rejoin.rejoin,
}
_UNDO: Mapping[Verb, Act] = {
    Verb.STOP: fence.undo_stop,
    Verb.REFUSE: fence.undo_refuse,
    Verb.FOLLOW: succession.undo_follow,
    Verb.PROTECT: succession.undo_protect,
}
_HELD: Mapping[Verb, Held] = {
    Verb.STOP: fence.held_stop,
    Verb.REFUSE: fence.held_refuse,
    Verb.CATCH_UP: succession.held_catch_up,
    Verb.PROMOTE: succession.held_promote,
    Verb.FOLLOW: succession.held_follow,
    Verb.PROTECT: succession.held_protect,
    Verb.REJOIN: rejoin.held_rejoin,
}
_RIGHTS = (
    ("CONFIG", "SET", "repl-ping-replica-period", "10"),
    ("CONFIG", "REWRITE"),
    ("REPLICAOF", "NO", "ONE"),
    ("MULTI",),
    ("EXEC",),
    ("ACL", "SETUSER", "evac.notes"),
    ("BGSAVE",),
    ("PSYNC", "?", "-1"),
    ("SET", "evac.canary.verify", "1"),
)


class ValkeyKind:
    """The kind `valkey`."""

    name = "valkey"
    settings = ValkeySettings
    support = Support(
        verbs=frozenset(_DO),
        undoable=frozenset(_UNDO),
        verified_on="Valkey 9.1 and Redis 7.0.15, real servers",
    )

    async def open(self, settings: ValkeySettings, surroundings: Surroundings) -> Driver:
        return ValkeyDriver(Member(settings, surroundings))


class ValkeyDriver:
    """One region's server."""

    def __init__(self, member: Member) -> None:
        self._member = member

    async def check(self) -> tuple[Finding, ...]:
        where = self._member.session.where
        try:
            look = await self._member.session.look()
            denied = [" ".join(right[:2]) for right in _RIGHTS if not await self._may(right)]
            configured = await self._member.session.ask("CONFIG GET", "primaryauth", "masterauth")
        except DriverError as error:
            return (Finding(ok=False, what=str(error), remedy="start it, or correct its settings"),)
        needs_password = self._member.settings.password is not None and not any(configured.values())
        return (
            Finding(ok=True, what=f"{where} answers, as a {'replica' if look.is_replica else 'primary'}"),
            _finding(not denied, f"{where} lets evac act", f"{where} denies {', '.join(denied)}", "grant it by ACL"),
            _finding(
                look.durable,
                f"{where} has a configuration file",
                f"{where} runs without a configuration file",
                "start it with one: what evac changes must survive a restart",
            ),
            _finding(
                not needs_password,
                f"{where} can follow the others",
                f"{where} has no primaryauth, and the others ask for a password",
                "set primaryauth: a replica needs it to follow",
            ),
            *self._check_fence(look),
            *await process.check(self._member.settings.control, self._member.place),
        )

    def _check_fence(self, look: Look) -> list[Finding]:
        where = self._member.session.where
        declared = int(self._member.settings.replicas_lag_max.total_seconds())
        asks = look.is_replica or look.guarded or look.min_replicas >= self._member.acks
        return [
            _finding(
                0 < look.lag_max_s <= declared,
                f"{where} refuses writes {look.lag_max_s} s after its last replica",
                f"{where} has min-replicas-max-lag {look.lag_max_s}, declared are {declared} s",
                "make `replicas_lag_max` what the server has; 0 there turns the fence off",
            ),
            _finding(
                asks and self._member.acks > 0,
                f"{where} asks for {self._member.acks} replicas",
                f"{where} has min-replicas-to-write {look.min_replicas}, replication.acks is {self._member.acks}",
                "set both to 1 or more: without it a cut-off primary goes on acknowledging",
            ),
        ]

    async def observe(self) -> MemberState:
        look = await self._member.session.look()
        silence = timedelta(seconds=look.silence_s) if look.silence_s is not None else None
        return MemberState(
            role=_role(look),
            writable=look.writable and not look.guarded,
            position=look.offset,
            term=look.notes.term,
            upstream=self._member.region_of(look.primary),
            streaming=look.link_up if look.is_replica else any(replica.online for replica in look.replicas),
            stream_silence=silence if look.is_replica else None,
            sync_standbys=() if look.is_replica else self._standbys(look),
            sync_acks=0 if look.is_replica or look.guarded or not look.lag_max_s else look.min_replicas,
            detail=_detail(look),
        )

    async def holds(self, action: Action) -> Holds:
        """What a restart could take back is written down as it is seen, and is in doubt where that fails."""
        held = _HELD.get(action.verb)
        if held is None:
            return Holds(truth=Truth.NO, reason=f"{action.verb} leaves nothing behind that could be seen")
        try:
            look = await self._member.session.look()
            receipt = held(self._member, look, action)
            if receipt is not None and action.verb is not Verb.CATCH_UP:
                await self._member.session.written()
        except DriverError as error:
            return Holds(truth=Truth.UNKNOWN, reason=str(error))
        if receipt is None:
            return Holds(truth=Truth.NO, reason=f"{self._member.session.where}: {_detail(look)}")
        return Holds(truth=Truth.YES, receipt=receipt)

    async def do(self, action: Action) -> Receipt:
        return await _DO[action.verb](self._member, action)

    async def undo(self, action: Action) -> Receipt:
        return await _UNDO[action.verb](self._member, action)

    async def close(self) -> None:
        await self._member.session.close()

    def _standbys(self, look: Look) -> tuple[RegionId, ...]:
        regions = (self._member.region_of(replica.address) for replica in look.replicas)
        return tuple(sorted(region for region in regions if region is not None))

    async def _may(self, command: tuple[str, ...]) -> bool:
        """Whether our user may run a command, by a dry run that executes nothing."""
        user = self._member.settings.username or "default"
        return bool(await self._member.session.ask("ACL", "DRYRUN", user, *command) in ("OK", b"OK", True))


def _finding(ok: bool, well: str, ill: str, remedy: str) -> Finding:
    return Finding(ok=ok, what=well if ok else ill, remedy="" if ok else remedy)


def _role(look: Look) -> MemberRole:
    """A primary that was stopped is that, though its process runs; one that lends is a standby in evac's hands."""
    if look.is_replica or look.notes.state == "lending":
        return MemberRole.STANDBY
    return MemberRole.STOPPED if look.guarded else MemberRole.PRIMARY


def _detail(look: Look) -> dict[str, Json]:
    return {
        "stream": look.replid,
        "state": look.notes.state,
        "min_replicas": look.min_replicas,
        "lag_max_s": look.lag_max_s,
        "good_replicas": look.good_replicas,
        "copying": look.syncing,
        "detached": look.detached,
    }
