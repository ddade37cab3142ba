"""The question, and what becomes of the answer.

Intuition: one row a series, with three things in it: what it is of (labels), when its newest sample was taken and
whether that is well (the value and its sign), and what time the server has (the row's stamp). Age is the difference
of two readings of one clock, the server's; ours does not come into it.

A sample is told once. The next look may find the same one, which is no second failure; of several series of one
target, all must have been sampled anew before it counts as looked at again.

A series that ends is not in the answer at all, and says nothing of why: its instance was taken away, or only what
measured it. Where any of several must be well, it may have been the one that was: so the others do not take the target
down by themselves, before they were all seen to fail with as many as there were, or for `ENDED_WAITS_S`.

What this is not: a judgement. Whether a target is down takes several looks, from several places (`core`).
"""

from __future__ import annotations

import base64
import ipaddress
import json
import re
import ssl
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import structlog

from evac.core.errors import Rejected, Unavailable
from evac.core.estate import Observer, RegionId, ServiceId
from evac.drivers.prometheus.settings import PrometheusSettings
from evac.ports import Finding, Place, Sighted, Watching

ANSWER_BYTES_MAX = 64 * 1024 * 1024
"""How long an answer may be, unpacked: some 400,000 series."""
AHEAD_MAX_S = 1.0
"""A sample from further in the server's future is of no known age."""
IDLE_MAX_S = 60.0
"""How long a connection on which nothing is asked stays open."""
ENDED_WAITS_S = 300.0
"""For so long a series that has ended may be the one that is well: as Prometheus itself holds on to a sample."""
SHOWN_MAX = 5
_TOKEN = re.compile(r"[\x21-\x7e]+")

_log = structlog.get_logger(__name__)

Target = tuple[ServiceId, RegionId]
Samples = Sequence[tuple[float, float]]
"""Of each series its age in seconds, and the time of its sample: below 0 if that is not well."""


class PrometheusKind:
    """The kind `prometheus`."""

    name = "prometheus"
    settings = PrometheusSettings
    counts = False

    def witnesses(self, settings: PrometheusSettings) -> frozenset[str]:
        return frozenset() if _is_here(urlsplit(settings.url).hostname or "") else frozenset({settings.url})

    async def open(self, observer: Observer, place: Place) -> Watching:
        return PrometheusObserver(observer, place)


class PrometheusObserver:
    """One Prometheus, asked by HTTP over a connection that is kept open."""

    def __init__(self, observer: Observer, place: Place) -> None:
        assert isinstance(observer.settings, PrometheusSettings)
        self._settings = observer.settings
        self._question = observer.settings.question()
        self._targets = observer.targets
        self._named = _names(observer.settings, observer.targets)
        self._place = place
        self._http: httpx.AsyncClient | None = None
        self._around = AsyncExitStack()
        self._told: dict[Target, float] = {}
        """The time of the newest sample that has been told, by the server's clock."""
        self._well: dict[Target, tuple[int, float]] = {}
        """How many series a target had when it was well last, and when that was, by the server's clock."""
        self._waiting: set[Target] = set()
        """The targets that are unknown since a series ended that may have been the well one."""

    async def ask(self) -> Sequence[Sighted]:
        return self._new(await self._answer(self._question))

    async def check(self) -> tuple[Finding, ...]:
        found = _by_target(await self._answer(self._question), self._named, self._settings)
        fresh = {t for t, samples in found.items() if _hold(samples, self._settings) is not None}
        missing = self._targets - fresh
        what = f"{self._settings.url} tells of {len(fresh)} of {len(self._targets)} targets"
        ended = await self._ended(fresh)
        if not missing:
            return (Finding(ok=True, what=what), *ended)
        remedy = f"see that `{self._settings.query}` has a fresh sample, with its labels, of {_some(missing)}"
        return (Finding(ok=bool(fresh), what=what, remedy=remedy, warning=True), *ended)

    async def _ended(self, fresh: Collection[Target]) -> tuple[Finding, ...]:
        """Say of which targets, though others tell of them, series have ended."""
        try:
            rows = await self._answer(self._settings.question_of_the_ended())
        except Rejected as error:
            return (Finding(ok=True, warning=True, what=f"which series have ended cannot be asked: {error}"),)
        ended = {target: len(samples) for target, samples in _by_target(rows, self._named, self._settings).items()}
        left = ended.keys() & fresh
        if not left:
            return ()
        count = sum(ended[target] for target in left)
        what = f"{count} series of {_some(left)} ended within the last hour: the others of the same target decide alone"
        remedy = f"if that is not meant, see that each instance behind `{self._settings.query}` is scraped"
        return (Finding(ok=True, warning=True, what=what, remedy=remedy),)

    async def close(self) -> None:
        self._http = None
        around, self._around = self._around, AsyncExitStack()
        await around.aclose()

    def _new(self, rows: Iterable[Any]) -> list[Sighted]:
        sighted: list[Sighted] = []
        for target, samples in _by_target(rows, self._named, self._settings).items():
            ok = self._without_the_ended(target, samples, _hold(samples, self._settings))
            fresh = [(age, abs(at)) for age, at in samples if _fresh(age, self._settings)]
            taken = [at for _, at in fresh]
            if ok is None or not self._is_new(target, taken):
                continue
            self._told[target] = max(taken)
            failing = sum(at < 0 for _, at in samples)
            reason = "" if ok else f"{self._settings.query}: {failing} of {len(samples)} series not well"
            youngest = max(min(age for age, _ in fresh), 0.0)
            service, region = target
            sighted.append(
                Sighted(service=service, region=region, ok=ok, age=timedelta(seconds=youngest), reason=reason)
            )
        return sighted

    def _without_the_ended(
        self, target: Target, samples: Sequence[tuple[float, float]], ok: bool | None
    ) -> bool | None:
        """Return what is held of a target, None where a series is missing that may be the well one."""
        if self._settings.instances != "any" or ok is None:
            return ok
        count, now = len(samples), max(age + abs(at) for age, at in samples)
        before, well_at = self._well.get(target, (0, now))
        if ok:
            self._well[target] = count, now
        elif count >= before:
            self._well.pop(target, None)
        elif 0 <= now - well_at <= ENDED_WAITS_S:
            if target not in self._waiting:
                self._waiting.add(target)
                _log.warning(
                    "series ended, those that are left fail: counts as unknown for a while",
                    url=self._settings.url,
                    service=target[0],
                    at=target[1],
                    ended=before - count,
                    longest_s=ENDED_WAITS_S,
                )
            return None
        self._waiting.discard(target)
        return ok

    def _is_new(self, target: Target, taken: Sequence[float]) -> bool:
        """Whether all were sampled since the target was told of last, or the server's clock has been set back."""
        last = self._told.get(target)
        return last is None or min(taken) > last or max(taken) < last

    async def _answer(self, question: str) -> list[Any]:
        """Ask, and return the rows. Raises `Rejected` or `Unavailable`."""
        try:
            http = self._http or await self._open()
            headers = self._credentials()
            body = bytearray()
            asking = http.stream(
                "POST",
                f"{urlsplit(self._settings.url).path}/api/v1/query",
                data={"query": question},
                headers=headers,
                extensions={"sni_hostname": urlsplit(self._settings.url).hostname},
            )
            async with asking as reply:
                async for part in reply.aiter_bytes():
                    body += part
                    if len(body) > ANSWER_BYTES_MAX:
                        raise Rejected(f"{self._settings.url}: more than {ANSWER_BYTES_MAX} bytes; select fewer series")
        except (httpx.HTTPError, OSError) as error:
            await self.close()
            raise Unavailable(f"Prometheus at {self._settings.url}: {str(error) or type(error).__name__}") from error
        return self._rows(reply.status_code, bytes(body))

    async def _open(self) -> httpx.AsyncClient:
        parts = urlsplit(self._settings.url)
        assert parts.hostname is not None, "settings refuse an address without a host"
        port = parts.port or (443 if parts.scheme == "https" else 80)
        async with AsyncExitStack() as around:
            near, near_port = await around.enter_async_context(self._place.forward(parts.hostname, port))
            shown = f"[{near}]" if ":" in near else near
            self._http = await around.enter_async_context(
                httpx.AsyncClient(
                    base_url=f"{parts.scheme}://{shown}:{near_port}",
                    headers={"Host": parts.netloc, "User-Agent": "evac"},
                    trust_env=False,
                    timeout=None,  # the caller's time limit cancels
                    verify=self._tls() if parts.scheme == "https" else False,
                    limits=httpx.Limits(max_connections=1, keepalive_expiry=IDLE_MAX_S),
                )
            )
            self._around = around.pop_all()
        return self._http

    def _tls(self) -> ssl.SSLContext:
        settings = self._settings
        try:
            context = ssl.create_default_context(cafile=settings.ca)
            if settings.cert is not None and settings.key is not None:
                context.load_cert_chain(settings.cert, settings.key)
        except OSError as error:
            raise Rejected(f"Prometheus at {settings.url}: ca, cert or key cannot be read: {error}; mend it") from error
        return context

    def _credentials(self) -> dict[str, str]:
        settings = self._settings
        if settings.bearer is not None:
            token = settings.bearer.read()
            if not _TOKEN.fullmatch(token):  # the client's own error would repeat it
                raise Rejected(f"Prometheus at {settings.url}: `bearer` is not one line of printable ASCII; mend it")
            return {"Authorization": f"Bearer {token}"}
        if settings.user is not None and settings.password is not None:
            both = f"{settings.user}:{settings.password.read()}".encode()
            return {"Authorization": f"Basic {base64.b64encode(both).decode()}"}
        return {}

    def _rows(self, status: int, body: bytes) -> list[Any]:
        at = f"Prometheus at {self._settings.url}"
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise Rejected(f"{at}: HTTP {status}; correct `bearer`, or `user` and `password`")
        try:
            told = json.loads(body)
            if told["status"] != "success":
                raise Rejected(f"{at}: {told.get('error', 'error')}; correct `query`")
            if told["data"]["resultType"] != "vector":
                raise Rejected(f"{at}: a {told['data']['resultType']} instead of a vector; correct `query`")
            rows: list[Any] = told["data"]["result"]
        except (ValueError, TypeError, KeyError, AttributeError):
            raise Rejected(f"{at}: HTTP {status}, and no answer of a Prometheus; correct `url`") from None
        return rows


def _some(targets: Iterable[Target]) -> str:
    names = sorted(f"{service} in {region}" for service, region in targets)
    return ", ".join(names[:SHOWN_MAX]) + (", …" if len(names) > SHOWN_MAX else "")


def _is_here(host: str) -> bool:
    """Whether an address is another machine's at each vantage point."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _names(settings: PrometheusSettings, targets: Iterable[Target]) -> Mapping[tuple[str, str], Target]:
    """What each pair of label values stands for. A name with other label values no longer stands for itself."""
    services, regions = _spellings(settings.service_names), _spellings(settings.region_names)
    return {
        (service, region): target
        for target in targets
        for service in services.get(target[0], [target[0]])
        for region in regions.get(target[1], [target[1]])
    }


def _spellings(names: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for said, name in names.items():
        found.setdefault(name, []).append(said)
    return found


def _by_target(
    rows: Iterable[Any], named: Mapping[tuple[str, str], Target], settings: PrometheusSettings
) -> dict[Target, list[tuple[float, float]]]:
    """Age in seconds, and the sample's signed time, of each series, by target; what is of no target is left out.

    Raises `Rejected` for rows that are not a Prometheus's.
    """
    found: dict[Target, list[tuple[float, float]]] = {}
    service_label, region_label = settings.service_label, settings.region_label
    try:
        for row in rows:
            labels = row["metric"]
            target = named.get((labels.get(service_label), labels.get(region_label)))
            if target is not None:
                now, signed = row["value"]
                at = float(signed)
                found.setdefault(target, []).append((now - abs(at), at))
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Rejected(f"Prometheus at {settings.url}: a row without labels and value; correct `url`") from None
    return found


def _fresh(age: float, settings: PrometheusSettings) -> bool:
    return -AHEAD_MAX_S <= age <= settings.age_max.total_seconds()


def _hold(samples: Samples, settings: PrometheusSettings) -> bool | None:
    """Whether a target is well by its series; None where it depends on one that is stale (Kleene's three values)."""
    known = [at > 0 if _fresh(age, settings) else None for age, at in samples]
    decides = settings.instances == "any"
    if decides in known:
        return decides
    return None if None in known else not decides
