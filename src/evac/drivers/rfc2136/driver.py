"""The RFC 2136 driver: compare-and-set the record set and its term at every server, then ask each one again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from datetime import timedelta

from evac.core.errors import DriverError, Indeterminate, Rejected, Unavailable
from evac.core.estate import Directs
from evac.core.observation import Json, MemberRole, MemberState
from evac.core.plan import Action, Verb
from evac.core.run import Receipt
from evac.drivers.remembered import Remembered
from evac.drivers.rfc2136.server import NameServer, NotRunning, Overtaken, Served
from evac.drivers.rfc2136.settings import Rfc2136Settings
from evac.ports import Driver, Finding, Holds, Support, Surroundings, Truth

_OVERTAKEN_MAX = 3
"""How often an update may find that somebody else wrote first."""
_POLL = timedelta(milliseconds=100)


class Rfc2136Kind:
    """The kind `rfc2136`."""

    name = "rfc2136"
    settings = Rfc2136Settings
    support = Support(
        verbs=frozenset({Verb.PREPARE, Verb.SHIFT}),
        undoable=frozenset({Verb.SHIFT}),
        verified_on="Knot 3.2.6, a real server",
        directs=Directs.ENTRY,
    )

    async def open(self, settings: Rfc2136Settings, surroundings: Surroundings) -> Driver:
        return Rfc2136Driver(settings, surroundings)


class Rfc2136Driver:
    """A region's name servers."""

    def __init__(self, settings: Rfc2136Settings, surroundings: Surroundings) -> None:
        self._settings = settings
        self._clock = surroundings.clock
        self._servers, self._secondaries = (
            tuple(NameServer(place=surroundings.place, address=address, settings=settings) for address in several)
            for several in (settings.servers, settings.secondaries)
        )
        name = f"{surroundings.component.id}.{surroundings.region}.shift.json"
        self._remembered = Remembered(surroundings.keep / name)

    async def check(self) -> tuple[Finding, ...]:
        findings: list[Finding] = []
        for server in self._servers:
            findings += await self._check(server)
        for server in self._secondaries:
            try:
                await self._look(server)
                findings.append(Finding(ok=True, what=f"secondary {server.address} answers with authority"))
            except DriverError as error:
                findings.append(Finding(ok=False, what=str(error), remedy="start it, or correct `secondaries`"))
        return tuple(findings)

    async def observe(self) -> MemberState:
        """The term is the lowest of the servers': None as long as one has none."""
        looks = await self._looks()
        terms = [served.term for served in looks.values()]
        known = [term for term in terms if term is not None]
        detail: dict[str, Json] = {
            "weights": dict(self._settings.weights(next(iter(looks.values())).addresses)),
            "servers": {
                server.address: {
                    "weights": dict(self._settings.weights(served.addresses)),
                    "addresses": tuple(sorted(a for several in served.addresses.values() for a in several)),
                    "ttl": served.ttl,
                    "serial": served.serial,
                }
                for server, served in looks.items()
            },
            "silent": tuple(server.address for server in self._servers if server not in looks),
        }
        return MemberState(
            role=MemberRole.PRIMARY,  # it takes orders and answers clients; routers have no other role
            writable=True,
            term=min(known) if len(known) == len(terms) else None,
            detail=detail,
        )

    async def holds(self, action: Action) -> Holds:
        if action.verb is Verb.PREPARE:
            return Holds(truth=Truth.NO, reason="a question leaves nothing to look at")
        try:
            weights = self._wanted(action.args.get("weights"))
            looks = await self._looks()
            late = await self._late(weights)
        except DriverError as error:
            return Holds(truth=Truth.UNKNOWN, reason=str(error))
        for server, served in looks.items():
            if not self._is_served(served, weights, term=action.term):
                return Holds(truth=Truth.NO, reason=f"{server.address} answers {_answers(served)}, term {served.term}")
        if late:
            return Holds(truth=Truth.NO, reason=late)
        noted = await self._remembered.read()
        before = noted.before if noted is not None and noted.weights == weights else weights
        return Holds(truth=Truth.YES, receipt=_receipt(weights, before))

    async def do(self, action: Action) -> Receipt:
        assert action.verb in (Verb.PREPARE, Verb.SHIFT), f"rfc2136 supports prepare and shift, not {action.verb}"
        weights = self._wanted(action.args.get("weights"))
        looks = await self._looks()
        for server, served in looks.items():
            _refuse_stale(server, served, term=action.term)
        if action.verb is Verb.PREPARE:
            return await self._prepared(looks)
        now = self._settings.weights(next(iter(looks.values())).addresses)
        noted = await self._remembered.started(weights=weights, now=now)
        await self._apply(looks, weights, term=action.term)
        await self._remembered.held(noted)
        return _receipt(weights, noted.before)

    async def undo(self, action: Action) -> Receipt:
        before = await self._before(action)
        looks = await self._looks()
        if before is None:
            now = self._settings.weights(next(iter(looks.values())).addresses)
            return _receipt(now, now)
        await self._apply(looks, before, term=action.term)
        return _receipt(before, before)

    async def close(self) -> None:
        """Nothing is kept open."""

    async def _prepared(self, looks: Mapping[NameServer, Served]) -> Receipt:
        """See that every server would take an update, by one that changes nothing."""
        for server in looks:
            try:
                async with server.talk() as talk:
                    await talk.try_nothing()
            except Overtaken as error:
                raise Rejected(f"{server.address} answers a true prerequisite as false") from error
            except Indeterminate as error:
                raise Unavailable(str(error)) from error
        return Receipt(kind=str(Verb.PREPARE), facts={"servers": [server.address for server in looks]})

    async def _before(self, action: Action) -> dict[str, int] | None:
        """What to go back to: the receipt's word, else our own note; None if the shift never started."""
        receipt = action.args.get("receipt")
        if isinstance(receipt, Mapping) and isinstance(receipt.get("before"), Mapping):
            return self._wanted(receipt["before"])
        noted = await self._remembered.read()
        if noted is None or noted.weights != self._wanted(action.args.get("weights")):
            return None
        return self._wanted(dict(noted.before))

    def _wanted(self, given: Json) -> dict[str, int]:
        """Every region's weight, 100 or 0: a name has no shares. Never nobody."""
        if not isinstance(given, Mapping):
            raise Rejected("the order names no weights")
        weights = dict.fromkeys(sorted(self._settings.addresses), 0)
        for region, weight in given.items():
            if isinstance(weight, bool) or not isinstance(weight, int | float) or weight < 0:
                raise Rejected(f"the weight of {region} is {weight!r}, not a number from 0 on")
            if weight and region not in weights:
                raise Rejected(f"{self._settings.name} has no addresses for {region}; add them to `addresses`")
            if weight:
                weights[region] = 100
        if not any(weights.values()):
            raise Rejected(f"{self._settings.name} would resolve to nothing: a record set is never left empty")
        return weights

    async def _look(self, server: NameServer) -> Served:
        async with server.talk() as talk:
            return await talk.look()

    async def _looks(self) -> dict[NameServer, Served]:
        """Look at every server at once. One that is not running answers nobody and is left out; one must run."""
        async with asyncio.TaskGroup() as group:
            tries = {server: group.create_task(_caught(self._look(server))) for server in self._servers}
        looks: dict[NameServer, Served] = {}
        down: list[DriverError] = []
        for server, task in tries.items():
            match task.result():
                case Served() as served:
                    looks[server] = served
                case NotRunning() as error:
                    down.append(error)
                case DriverError() as error:
                    raise error
        if not looks:
            raise Unavailable("; ".join(map(str, down)))
        return looks

    def _is_served(self, served: Served, weights: Mapping[str, int], *, term: int | None) -> bool:
        right = dict(served.addresses) == self._settings.wanted(weights)
        return right and (term is None or served.term == term)

    async def _apply(self, looks: Mapping[NameServer, Served], weights: Mapping[str, int], *, term: int) -> None:
        async with asyncio.TaskGroup() as group:
            tries = [group.create_task(_caught(self._apply_to(server, weights, term=term))) for server in looks]
        failed = [task.result() for task in tries if isinstance(task.result(), DriverError)]
        errors = [error for error in failed if isinstance(error, DriverError)]
        if errors and len(errors) == len(tries) and not any(isinstance(e, Indeterminate) for e in errors):
            raise errors[0]
        if errors:
            raise Indeterminate("; ".join(map(str, errors)))
        await self._propagated(weights)

    async def _apply_to(self, server: NameServer, weights: Mapping[str, int], *, term: int) -> Served:
        """Compare and set at one server, and see that it answers so; in one conversation."""
        async with server.talk() as talk:
            for _ in range(_OVERTAKEN_MAX):
                served = await talk.look()
                _refuse_stale(server, served, term=term)
                if self._is_served(served, weights, term=term):
                    return served
                try:
                    await talk.replace(weights, term=term, seen=served)
                except Overtaken:
                    continue
                try:
                    served = await talk.look()
                except DriverError as error:
                    raise Indeterminate(f"{server.address} took the update, but not the question: {error}") from error
                if self._is_served(served, weights, term=term):
                    return served
        raise Indeterminate(f"{server.address}: somebody else keeps writing {self._settings.name}; find out who")

    async def _propagated(self, weights: Mapping[str, int]) -> None:
        """Wait until every secondary answers the same."""
        until = self._clock.now() + self._settings.propagation_max
        while late := await self._late(weights):
            if self._clock.now() >= until:
                raise Indeterminate(f"{late}; the primaries have it")
            await self._clock.sleep(_POLL)

    async def _late(self, weights: Mapping[str, int]) -> str:
        """Say which secondary does not answer these weights; empty if none. One that is not running is left out."""
        for server in self._secondaries:
            found = await _caught(self._look(server))
            if isinstance(found, Served) and not self._is_served(found, weights, term=None):
                return f"secondary {server.address} still answers {_answers(found)}"
            if isinstance(found, DriverError) and not isinstance(found, NotRunning):
                return str(found)
        return ""

    async def _check(self, server: NameServer) -> list[Finding]:
        try:
            async with server.talk() as talk:
                served = await talk.look()
                try:
                    await talk.try_nothing()
                    refusal = ""
                except Overtaken:
                    refusal = f"{server.address} answers a true prerequisite as false"
                except DriverError as error:
                    refusal = str(error)
        except DriverError as error:
            return [Finding(ok=False, what=str(error), remedy="start it, or correct `servers` and `zone`")]
        known = {address for several in self._settings.addresses.values() for address in several}
        foreign = {a for several in served.addresses.values() for a in several} - known
        return [
            Finding(ok=True, what=f"{server.address} answers for {self._settings.name}: {_answers(served)}"),
            Finding(
                ok=not refusal,
                what=refusal or f"{server.address} takes evac's updates",
                remedy="until then a shift is refused" if refusal else "",
            ),
            Finding(
                ok=not foreign,
                what=f"{server.address} also answers {', '.join(sorted(foreign))}, which is no region's"
                if foreign
                else f"{server.address} answers with regions' addresses only",
                remedy="add it to `addresses`: the next shift removes it" if foreign else "",
            ),
        ]


async def _caught(looking: Awaitable[Served]) -> Served | DriverError:
    try:
        return await looking
    except DriverError as error:
        return error


def _refuse_stale(server: NameServer, served: Served, *, term: int) -> None:
    if served.term is not None and served.term > term:
        raise Rejected(f"{server.address} has obeyed term {served.term}; term {term} is over")


def _answers(served: Served) -> str:
    return ", ".join(sorted(a for several in served.addresses.values() for a in several)) or "nothing"


def _receipt(weights: Mapping[str, int], before: Mapping[str, int]) -> Receipt:
    return Receipt(kind=str(Verb.SHIFT), facts={"weights": dict(weights), "before": dict(before)})
