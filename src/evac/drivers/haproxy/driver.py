"""The HAProxy driver: look at every instance, write the term and the weights, look again.

HAProxy has no compare-and-set. A lower term is refused by what was read just before; between that reading and the
writing lies one round trip, in which the region's one agent, which refuses lower terms itself, does nothing else.
After writing, the term is read again: a higher one than ours means that somebody wrote between, and is Indeterminate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta

from evac.core.errors import DriverError, Indeterminate, Rejected, Unavailable
from evac.core.estate import Directs
from evac.core.observation import Json, MemberRole, MemberState
from evac.core.plan import Action, Verb
from evac.core.run import Receipt
from evac.drivers.haproxy.api import Look, NotRunning, RuntimeApi
from evac.drivers.haproxy.client import asked_as_client
from evac.drivers.haproxy.settings import HaproxySettings
from evac.drivers.remembered import Remembered
from evac.ports import Driver, Finding, Holds, Support, Surroundings, Truth

WEIGHT_MAX = 256
_STATIC = ("static-rr", "source", "hdr", "uri", "url_param", "rdp-cookie")
_COUNTED = (
    "status", "check_status", "scur", "stot", "rate", "econ", "eresp", "wretr", "wredis", "cli_abrt", "srv_abrt",
    "hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "rtime", "ttime",
)  # fmt: skip


class HaproxyKind:
    """The kind `haproxy`."""

    name = "haproxy"
    settings = HaproxySettings
    support = Support(
        verbs=frozenset({Verb.PREPARE, Verb.SHIFT, Verb.VERIFY}),
        undoable=frozenset({Verb.SHIFT}),
        verified_on="HAProxy 2.8.25, a real server, by TCP and by UNIX socket",
        directs=Directs.WORK,
    )

    async def open(self, settings: HaproxySettings, surroundings: Surroundings) -> Driver:
        return HaproxyDriver(settings, surroundings)


class HaproxyDriver:
    """A region's HAProxy instances."""

    def __init__(self, settings: HaproxySettings, surroundings: Surroundings) -> None:
        self._settings = settings
        self._place = surroundings.place
        self._regions = tuple(surroundings.component.members)
        self._apis = tuple(RuntimeApi(place=surroundings.place, address=address) for address in settings.api)
        name = f"{surroundings.component.id}.{surroundings.region}.shift.json"
        self._remembered = Remembered(surroundings.keep / name)

    async def check(self) -> tuple[Finding, ...]:
        findings: list[Finding] = []
        for api in self._apis:
            findings += await self._check(api)
        return tuple(findings)

    async def observe(self) -> MemberState:
        """The term is the lowest of the instances': None as long as one has none."""
        looks = await self._looks()
        terms = [look.term for look in looks.values()]
        known = [term for term in terms if term is not None]
        carried = [look.counters.get("BACKEND", {}) for look in looks.values()]
        detail: dict[str, Json] = {
            "requests_per_second": sum(int(row.get("rate") or 0) for row in carried),
            "weights": dict(self._weights(next(iter(looks.values())))),
            "instances": {
                api.address: {
                    "weights": dict(self._weights(look)),
                    "counters": {
                        name: {key: row[key] for key in _COUNTED if key in row} for name, row in look.counters.items()
                    },
                }
                for api, look in looks.items()
            },
            "silent": [api.address for api in self._apis if api not in looks],
        }
        return MemberState(
            role=MemberRole.PRIMARY,  # it takes orders and carries clients; routers have no other role
            writable=True,
            term=min(known) if len(known) == len(terms) else None,
            detail=detail,
        )

    async def holds(self, action: Action) -> Holds:
        if action.verb in (Verb.PREPARE, Verb.VERIFY):
            return Holds(truth=Truth.NO, reason="a question leaves nothing to look at")
        try:
            looks = await self._looks()
            weights = self._wanted(action)
        except DriverError as error:
            return Holds(truth=Truth.UNKNOWN, reason=str(error))
        reason = self._differs(looks, weights, action)
        if reason:
            return Holds(truth=Truth.NO, reason=reason)
        noted = await self._remembered.read()
        before = noted.before if noted is not None and noted.weights == weights else weights
        return Holds(truth=Truth.YES, receipt=_receipt(weights, before))

    async def do(self, action: Action) -> Receipt:
        assert action.verb in HaproxyKind.support.verbs, f"haproxy does not support {action.verb}"
        if (region := action.args.get("serves")) is not None:
            return await self._tried(action, str(region))
        weights = self._wanted(action)
        looks = await self._looks()
        self._refuse(looks, weights, action)
        if action.verb is Verb.PREPARE:
            return await self._prepared(looks)
        now = self._weights(next(iter(looks.values())))
        noted = await self._remembered.started(weights=weights, now=now)
        await self._apply(looks, weights, action)
        await self._remembered.held(noted)
        return _receipt(weights, noted.before)

    async def undo(self, action: Action) -> Receipt:
        before = await self._before(action)
        if before is None:
            looks = await self._looks()
            now = self._weights(next(iter(looks.values())))
            return _receipt(now, now)
        if not any(before.values()):
            raise Rejected(
                "before the shift no region had a weight above 0: going back there would send clients nowhere"
            )
        looks = await self._looks()
        self._refuse(looks, before, action)
        await self._apply(looks, before, action)
        return _receipt(before, before)

    async def close(self) -> None:
        """Nothing is kept open."""

    async def _prepared(self, looks: Mapping[RuntimeApi, Look]) -> Receipt:
        """See that every instance lets evac change weights."""
        for api in looks:
            if refusal := await api.allowed(backend=self._settings.backend):
                raise Rejected(f"HAProxy at {api.address}: {refusal}; give the runtime API `level admin`")
        return Receipt(kind=str(Verb.PREPARE), facts={"instances": [api.address for api in looks]})

    async def _tried(self, action: Action, region: str) -> Receipt:
        """See that whoever comes in here is served by a region: by HAProxy's own checks, and as a client if told how.

        Changes nothing, so that no term guards it.
        """
        server = self._settings.server(region)
        for api, look in (await self._looks()).items():
            known = look.servers.get(server)
            if known is None or not known.weight:
                raise Rejected(f"HAProxy at {api.address} sends nobody to {region}; shift it there first")
            if not known.up:
                raise Unavailable(f"HAProxy at {api.address} finds {region} down; see whether it can be reached there")
        facts: dict[str, Json] = {"serves": region}
        if self._settings.client_url is not None:
            facts |= await asked_as_client(self._settings.client_url, place=self._place)
        return Receipt(kind=str(action.verb), facts=facts)

    async def _before(self, action: Action) -> dict[str, int] | None:
        """What to go back to: the receipt's word, else our own note; None if the shift never started."""
        receipt = action.args.get("receipt")
        if isinstance(receipt, Mapping) and isinstance(receipt.get("before"), Mapping):
            return _numbers(receipt["before"])
        noted = await self._remembered.read()
        return dict(noted.before) if noted is not None and noted.weights == self._wanted(action) else None

    def _wanted(self, action: Action) -> dict[str, int]:
        """Every region's weight; a region that the order does not name gets none."""
        given = _numbers(action.args.get("weights"))
        if not any(given.values()):
            raise Rejected("no region is left with a weight above 0: a router is never sent nowhere")
        return {region: given.get(region, 0) for region in sorted({*self._regions, *given})}

    async def _looks(self) -> dict[RuntimeApi, Look]:
        """Look at every instance. One that is not running carries nobody and is left out; one must run."""
        looks: dict[RuntimeApi, Look] = {}
        down: list[NotRunning] = []
        for api in self._apis:
            try:
                looks[api] = await api.look(backend=self._settings.backend, term_variable=self._settings.term_variable)
            except NotRunning as error:
                down.append(error)
        if not looks:
            raise Unavailable("; ".join(map(str, down)))
        return looks

    def _weights(self, look: Look) -> dict[str, int]:
        names = {region: self._settings.server(region) for region in self._regions}
        return {region: look.servers[name].weight for region, name in sorted(names.items()) if name in look.servers}

    def _refuse(self, looks: Mapping[RuntimeApi, Look], weights: Mapping[str, int], action: Action) -> None:
        for api, look in looks.items():
            if look.term is not None and look.term > action.term:
                raise Rejected(f"HAProxy at {api.address} has obeyed term {look.term}; term {action.term} is over")
            for region, weight in weights.items():
                name = self._settings.server(region)
                if weight and name not in look.servers:
                    known = ", ".join(look.servers) or "none"
                    raise Rejected(
                        f"HAProxy at {api.address}: backend {self._settings.backend} has no server {name} for {region}"
                        f" (it has {known}); add it there, or name it in `servers`"
                    )

    def _differs(self, looks: Mapping[RuntimeApi, Look], weights: Mapping[str, int], action: Action) -> str:
        """Say in what an instance differs from what is wanted; empty if in nothing."""
        for api, look in looks.items():
            if self._settings.term_variable is not None and look.term != action.term:
                return f"HAProxy at {api.address} is at term {look.term}"
            for region, weight in weights.items():
                server = look.servers.get(self._settings.server(region))
                is_now = server.weight if server is not None else 0
                if is_now != weight:
                    return f"HAProxy at {api.address} gives {region} a weight of {is_now}, not {weight}"
        return ""

    async def _apply(self, looks: Mapping[RuntimeApi, Look], weights: Mapping[str, int], action: Action) -> None:
        """Write to every instance at once, then see that each holds it."""
        async with asyncio.TaskGroup() as group:
            tries = [group.create_task(self._apply_to(api, look, weights, action)) for api, look in looks.items()]
        failed = [problem for problem in (task.result() for task in tries) if problem is not None]
        if failed and len(failed) == len(tries) and all(isinstance(problem, Rejected) for problem in failed):
            raise failed[0]
        if failed:
            raise Indeterminate("; ".join(map(str, failed)))

    async def _apply_to(
        self, api: RuntimeApi, look: Look, weights: Mapping[str, int], action: Action
    ) -> DriverError | None:
        """Return what went wrong with one instance; None if nothing."""
        try:
            seen, state = await api.change(
                self._commands(look, weights, action),
                backend=self._settings.backend,
                term_variable=self._settings.term_variable,
            )
            await self._keep_state(state)
        except DriverError as error:
            return error
        differs = self._differs({api: seen}, weights, action)
        return Indeterminate(differs) if differs else None

    def _commands(self, look: Look, weights: Mapping[str, int], action: Action) -> list[str]:
        """The term first, then who gets clients, then who gets none: at no moment is there nobody."""
        commands: list[str] = []
        if self._settings.term_variable is not None:
            commands += ["experimental-mode on", f"set var {self._settings.term_variable} int({action.term})"]
        for region, weight in sorted(weights.items(), key=lambda item: -item[1]):
            name = self._settings.server(region)
            if name not in look.servers:
                continue
            server = f"{self._settings.backend}/{name}"
            if weight:
                commands += [f"set server {server} weight {weight}", f"set server {server} state ready"]
            else:
                commands += [f"set server {server} state {self._settings.at_zero}", f"set server {server} weight 0"]
                commands += [f"shutdown sessions server {server}"]
        return commands

    async def _keep_state(self, state: str) -> None:
        if self._settings.state_file is None:
            return
        script = 'cat > "$0.new" && mv "$0.new" "$0"'
        argv = ("sh", "-c", script, self._settings.state_file)
        done = await self._place.run(argv, stdin=state.encode(), timeout=timedelta(seconds=5))
        if done.code != 0:
            why = done.err.decode(errors="replace").strip()
            raise Indeterminate(f"the weights hold, but {self._settings.state_file} could not be written: {why}")

    async def _check(self, api: RuntimeApi) -> list[Finding]:
        where = f"HAProxy at {api.address}"
        try:
            look = await api.look(backend=self._settings.backend, term_variable=self._settings.term_variable)
            refusal = await api.allowed(backend=self._settings.backend)
        except DriverError as error:
            return [Finding(ok=False, what=str(error), remedy="start it, or correct `api` and `backend`")]
        missing = [r for r in self._regions if self._settings.server(r) not in look.servers]
        whole = look.counters.get("BACKEND", {})
        static = whole.get("algo", "").startswith(_STATIC)
        cookie = whole.get("cookie") if self._settings.at_zero == "drain" else None
        return [
            Finding(ok=True, what=f"{where} answers; backend {self._settings.backend}: {', '.join(look.servers)}"),
            Finding(
                ok=not refusal,
                what=f"{where} lets evac change weights" if not refusal else f"{where}: {refusal}",
                remedy="give the runtime API `level admin` on its `stats socket` line" if refusal else "",
            ),
            Finding(
                ok=not missing,
                what=f"{where} has a server for every region" if not missing else f"{where} lacks {', '.join(missing)}",
                remedy="add a server for each region to the backend, or name it in `servers`" if missing else "",
            ),
            Finding(
                ok=not static,
                what=f"{where} balances by {whole.get('algo', 'an algorithm it does not name')}",
                remedy="use roundrobin, leastconn or random: this algorithm takes no weights at run time"
                if static
                else "",
            ),
            Finding(
                ok=not cookie,
                what=f"{where} keeps clients by cookie {cookie}"
                if cookie
                else f"{where}: a drained region gets nobody",
                remedy="set `at_zero: maint`: a drained server still gets clients that bear its cookie"
                if cookie
                else "",
            ),
        ]


def _numbers(given: Json) -> dict[str, int]:
    """Read weights from an order: whole percents, and never 0 for what is more than 0."""
    if not isinstance(given, Mapping):
        raise Rejected("the order names no weights")
    weights: dict[str, int] = {}
    for region, weight in given.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= WEIGHT_MAX:
            raise Rejected(f"the weight of {region} is {weight!r}, not a number from 0 to {WEIGHT_MAX}")
        weights[region] = max(1, round(weight)) if weight > 0 else 0
    return weights


def _receipt(weights: Mapping[str, int], before: Mapping[str, int]) -> Receipt:
    return Receipt(kind=str(Verb.SHIFT), facts={"weights": dict(weights), "before": dict(before)})
