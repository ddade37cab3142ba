"""What an estate file may say: its sections, their fields, units and defaults.

Intuition: this is the form, not the meaning. A model here is one mapping in the file; its field docstrings are the
reference (`evac.config.reference`) and the hints of an editor (`json_schema`). Members' and probes' settings are
left open here: their drivers' own models say what they may be (`members`).

What this is not: what contradicts what (`rules`), or the values evac works with (`core.estate`, made by `build`).
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Literal, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field

from evac.core.estate import Automation, Directs, RegionRole, ReplicationMode, Strategy, WhenAlone
from evac.core.kinds import ServiceKind
from evac.core.policy import Detection, Guard
from evac.core.quiet import LASTS_MAX
from evac.core.trigger import Action, Severity
from evac.devices import DeviceSettings
from evac.drivers.settings import Duration, EstatePath, Settings
from evac.places.ssh import SshSettings

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
"""A name: small letters, digits and `-`, at most 63."""
Positive = Annotated[Duration, Field(gt=timedelta(0))]
Share = Annotated[float, Field(gt=0, le=1)]
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = get_args(Day)

_DETECTION = Detection()
_GUARD = Guard()


def _local(given: object) -> object:
    if isinstance(given, str):
        if given != "local":
            raise ValueError("must be `local`, or a mapping with `ssh`")
        return {}
    return given


def _no_longer_than_a_week(given: timedelta) -> timedelta:
    if given > LASTS_MAX:
        raise ValueError(f"must be at most {LASTS_MAX.days}d")
    return given


def _time_of_day(given: str) -> str:
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", given):
        raise ValueError('is no time of day; write hours and minutes as "02:00"')
    return given


def _zone(given: str) -> str:
    try:
        ZoneInfo(given)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("is no time zone that this host knows; write one as Europe/Berlin or UTC") from None
    return given


class PlaceSection(Settings):
    """Where evac acts and looks from in a region: the host it runs on (written `local`), or a host there."""

    ssh: SshSettings | None = None
    """The host in the region that is reached over ssh. Default: none, the host evac runs on."""


class CapacitySection(Settings):
    """What a region can carry. Default: not declared."""

    users: int = Field(default=0, ge=0)
    """Users at one time."""
    requests_per_second: float = Field(default=0.0, ge=0)
    """Requests per second."""
    storage_gb: float = Field(default=0.0, ge=0)
    """Storage, in gigabytes."""


class RegionSection(Settings):
    """A place where services run."""

    provider: str = Field(min_length=1)
    """Who runs it: `aws`, `gcp`, `azure`, `on-prem`, or any other word."""
    location: tuple[Annotated[float, Field(ge=-90, le=90)], Annotated[float, Field(ge=-180, le=180)]]
    """Latitude and longitude in degrees, as `[38.9, -77.4]`."""
    jurisdiction: str = Field(min_length=1)
    """Whose law holds there, as services name it under `jurisdictions`: `US`, `EU`, `DE`."""
    role: RegionRole
    """What it is for when all is well. A `primary` region is home to groups that name none."""
    capacity: CapacitySection = CapacitySection()
    """What it can carry."""
    cost: float = Field(default=1.0, gt=0)
    """Price level against the cheapest region; of two equally good targets the cheaper one is taken."""
    place: Annotated[PlaceSection, BeforeValidator(_local, json_schema_input_type=Literal["local"] | PlaceSection)] = (
        PlaceSection()
    )
    """Where evac acts and looks from in this region: `local`, or `ssh:` with a host there."""


class DetectionSection(Settings):
    """When views become a verdict. The defaults decide within about three seconds."""

    interval: Positive = _DETECTION.interval
    """Time between two probes of one target."""
    timeout: Positive = _DETECTION.timeout
    """Longest time a probe on a connection that is kept open may take."""
    failures: int = Field(default=_DETECTION.failures, ge=1, le=100)
    """Failed probes in a row that make a target down."""
    successes: int = Field(default=_DETECTION.successes, ge=1, le=100)
    """Good probes in a row that make it up again."""
    heartbeat_stale: Positive = _DETECTION.heartbeat_stale
    """Age at which a region's heartbeat counts as missing."""
    dwell: Duration = _DETECTION.dwell
    """Time a verdict must hold before anything acts on it."""
    ingress_dwell: Duration = _DETECTION.ingress_dwell
    """Time a verdict must hold when only the way in fails, or the primary answers and waits for its standbys."""
    client_interval: Positive = _DETECTION.client_interval
    """Time between two probes made as a client (`as_client`)."""
    client_timeout: Positive = _DETECTION.client_timeout
    """Longest time a probe made as a client may take. It opens a connection: one lost packet costs 1s by itself."""
    gray_window: Positive = _DETECTION.gray_window
    """Time over which client probes are counted to see a region that works only in part."""
    gray_failing: Share = _DETECTION.gray_failing
    """Failing part of the client probes, 0 to 1, at which a region is gray."""
    lossy_window: Positive = _DETECTION.lossy_window
    """Time over which probes are counted to see a region behind a path that loses packets."""
    lossy_failing: Share = _DETECTION.lossy_failing
    """Failing part of those probes, 0 to 1, at which the path counts as losing."""
    quorum: int = Field(default=_DETECTION.quorum, ge=0)
    """Outside vantage points that must agree; 0 means a majority, and two where there are two."""


class GuardSection(Settings):
    """What keeps automation from acting too often, or onto a bad target."""

    hold_down: Duration = _GUARD.hold_down
    """Time after a failover in which nothing automatic follows, for kinds of services that `cooldown` does not name."""
    cooldown: dict[ServiceKind, Duration] = Field(default_factory=dict)
    """The same by kind of service; for a group the longest of its services'. Default: `database: 1h`, `api: 30m`,
    `cache: 15m`; none where `hold_down` is said."""
    target_score_min: Share = _GUARD.target_score_min
    """Lowest score, 0 to 1, at which a region may be a target."""
    recover_for: Duration = _GUARD.recover_for
    """Time a region must be well before it counts as recovered."""
    standby_leaves_after: Positive = _GUARD.standby_leaves_after
    """Time a synchronous standby must be away before the primary waits for the others only. Left out, it is twice the
    time that finding a lost region takes, if that is longer."""
    standby_returns_after: Duration = _GUARD.standby_returns_after
    """Time it must have streamed without a gap before it is waited for again; twice as long for each time the set
    shrank lately, by the points below."""
    flap_penalty: float = Field(default=_GUARD.flap_penalty, gt=0)
    """Points that a group gets for each failover that completed, and each switchover by evac itself in its place.
    Shifts of traffic by evac itself, and a set that shrank, are counted apart, with as many."""
    flap_half_life: Positive = _GUARD.flap_half_life
    """Time in which the points halve."""
    flap_suppress: float = Field(default=_GUARD.flap_suppress, gt=0)
    """Points from which on nothing automatic moves the group."""
    flap_reuse: float = Field(default=_GUARD.flap_reuse, gt=0)
    """Points below which the group is free again."""


class MaintenanceSection(Settings):
    """A window in which work is expected, and nothing it disturbs moves by itself. A person still can move it."""

    reason: str = Field(min_length=1)
    """What is done there; it is shown to everybody."""
    days: tuple[Day, ...] = Field(default=DAYS, min_length=1)
    """On which days it begins: `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`. Default: every day."""
    at: Annotated[str, AfterValidator(_time_of_day)]
    """When it begins, as `"02:00"`."""
    lasts: Annotated[Positive, AfterValidator(_no_longer_than_a_week)]
    """How long it lasts, at most 7d."""
    zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    """The zone that `at` is in, as `Europe/Berlin`."""
    groups: tuple[Name, ...] = ()
    """The groups it disturbs. Default: with `regions` none, else all."""
    regions: tuple[str, ...] = ()
    """The regions it disturbs: whatever has its primaries there. Default: with `groups` none, else all."""


class TierSection(Settings):
    """A tier's promises. What is left out is the platform's default for that tier (1 to 4)."""

    rto: Positive | None = None
    """Longest time to recover. Defaults: 5m, 15m, 1h, 4h."""
    rpo: Duration | None = None
    """Most data that may be lost, as time. Defaults: 1m, 5m, 15m, 1h."""
    mtpd: Positive | None = None
    """Longest outage that can be survived. Defaults: 1h, 4h, 1d, 3d."""


class LeaseSection(Settings):
    """How an asynchronous primary is held, so that a failover needs no person when its region is silent."""

    renew: Positive = timedelta(seconds=1)
    """How often its region's agent renews the lease in the store."""
    watchdog: Positive = timedelta(seconds=6)
    """Age of the newest renewal at which the watchdog kills the primary. A store that does not answer for so long ends
    it too."""
    reset: Positive = timedelta(seconds=1)
    """Longest time from then until none of its processes runs; with a `device`, until the machine is reset."""
    freeze: Duration = timedelta(seconds=1)
    """Longest pause of the whole machine (a virtual machine that is moved) that is covered."""
    wait: Positive | None = None
    """How long a renewal must have been the last one before another region takes over. Default: the shortest that
    the other times allow, 8.5s with their defaults."""
    device: str = ""
    """A hardware watchdog, `/dev/watchdog`, used on hosts that have it. Default: none."""


class ReplicationSection(Settings):
    """How a component's state is copied."""

    mode: ReplicationMode
    """`sync`: an acknowledged write has reached standbys; nothing is lost. `async`: only the primary has it."""
    acks: int | None = Field(default=None, ge=0)
    """How many standbys must hold a write. Default: 1 with `sync`. With `async` (default 0) the primary stops
    accepting writes while fewer than so many standbys have been heard of, which bounds the loss (Valkey)."""
    lag_max: Positive = timedelta(seconds=10)
    """A standby further behind is not promoted without force."""
    when_alone: WhenAlone = WhenAlone.WAIT
    """With `sync`, when no standby is left to acknowledge: `wait`, writes wait until one is back or a person says
    `evac degrade`; `degrade`, they go on, and what is acknowledged may be lost until a standby streams again."""
    lease: LeaseSection | None = None
    """With `async`, and agents in every region: the lease that the primary is held under; `{}` for the defaults.
    Default: none, and a person says that a silent primary has stopped."""


class ComponentSection(Settings):
    """A system inside a service: a database, a cache, a load balancer, a DNS zone; one member a region."""

    driver: str
    """Which driver speaks to it (`evac.drivers`)."""
    replication: ReplicationSection | None = None
    """How its state is copied; only for drivers that hold state. Default: `sync` with one acknowledgement."""
    devices: dict[str, DeviceSettings] = Field(default_factory=dict)
    """What can switch a member's host off from outside, by its region. Its word that the host is off lets evac leave a
    silent primary that acknowledges alone. Default: none."""
    directs: Directs | None = None
    """What a router chooses for clients: `entry`, the region whose door they come in by, or `work`, the region that
    serves them once they are in. Default: its driver's word (`rfc2136` entry, `haproxy` work)."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """The driver's settings that all members share."""
    members: dict[str, dict[str, Any] | None] = Field(min_length=1)
    """Each region's own settings, by region; they win over the shared ones."""


class ProbeSection(Settings):
    """One way to ask the service whether it does its job, in each of its regions."""

    kind: str
    """Which kind of probe (`evac.probes`)."""
    as_client: bool = False
    """Whether it goes through the public entry over a new connection each time, as a client does."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """The probe's settings that all regions share."""
    regions: dict[str, dict[str, Any] | None] = Field(min_length=1)
    """Each region's own settings, by the region that is asked; they win over the shared ones."""


class ObserverSection(Settings):
    """Something that already watches many services: one question tells of all of them. What it does not tell, or told
    too long ago, is unknown."""

    kind: str
    """Which kind of observer (`evac.observers`)."""
    as_client: bool = False
    """Whether what it tells is what a client met who came in by the public entry."""
    services: tuple[str, ...] = ()
    """The services it tells of. Default: all that no probe of their own asks in the same way."""
    interval: Positive = timedelta(seconds=1)
    """Time between two questions."""
    timeout: Positive = timedelta(seconds=2)
    """Longest time an answer may take; after it nothing is known."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """The observer's settings that all vantage points share."""
    vantages: dict[str, dict[str, Any] | None] = Field(min_length=1)
    """Each region's own observer, by the region that it watches from and that asks it; these settings win over the
    shared ones. One observer for two regions would be one witness with two votes, and is refused."""


class ServiceSection(Settings):
    """A unit that is promised to its users, and fails over as a whole."""

    kind: ServiceKind
    """What it is to those who use it."""
    tier: int = Field(ge=1, le=99)
    """Its tier, which gives its promises: 1 is the most important."""
    rto: Positive | None = None
    """Longest time to recover. Default: its tier's."""
    rpo: Duration | None = None
    """Most data that may be lost, as time. Default: its tier's."""
    mtpd: Positive | None = None
    """Longest outage that can be survived. Default: its tier's."""
    group: Name | None = None
    """Services of one group move together. Default: services tied by `needs` and `wants` are a group, named after
    its first service."""
    home: str | None = None
    """Where the group's primaries are when all is well; said by one service of the group. Default: the one of its
    regions whose role is `primary`."""
    regions: tuple[str, ...] = ()
    """Regions it can run in, the preferred first. Default: those its components have members in."""
    needs: tuple[str, ...] = ()
    """Services it cannot work without: clients come back when these are promoted."""
    wants: tuple[str, ...] = ()
    """Services it is better with: they move along, and clients do not wait for them."""
    strategy: Strategy = Strategy.ACTIVE_PASSIVE
    """How it survives the loss of a region."""
    automation: Automation = Automation.AUTOMATIC
    """Who may start a failover: evac, evac after an approval, or people only."""
    data_class: str = "internal"
    """How its data is classified: `public`, `internal`, `confidential`, or your own word."""
    jurisdictions: tuple[str, ...] = ()
    """Where its data may be, in the regions' words. Default: anywhere."""
    tags: tuple[str, ...] = ()
    """Compliance tags and other words for reports."""
    endpoints: dict[str, str] = Field(default_factory=dict)
    """Its address in each region, for people and reports."""
    components: dict[Name, ComponentSection] = Field(default_factory=dict)
    """The systems it is made of, by name."""
    probes: tuple[ProbeSection, ...] = ()
    """How to see whether it does its job. Of several in one region all must pass; those `as_client` count apart."""


class TriggerSection(Settings):
    """A reason to act, or to call a person, beside what evac detects by itself. Of one that is named as a shipped one,
    what is left out is as shipped: `slow-answers: {}`."""

    when: str | None = Field(default=None, min_length=1, max_length=2000)
    """An expression over facts (CEL), as `region.availability < 0.5`; it counts as true when a quorum of the vantage
    points outside finds it true. docs/reference/triggers.md has all facts."""
    lasting: Positive | None = Field(default=None, alias="for")
    """How long it must have been true."""
    severity: Severity = Severity.WARNING
    """How bad it is; of several that are true the worse is heard first."""
    action: Action | None = None
    """What is done then: `failover`, the primaries move; `shift`, clients come in by another door while that is so;
    `call`, a person is called."""
    automatic: bool = False
    """Whether evac does it by itself; else it asks a person first."""
    rto: Positive | None = None
    """Within which time of its becoming true the group is to be served again, for reports. Default: its services'."""
    says: str = ""
    """What a person is told who is called. Default: nothing but the expression, and what it read."""
    groups: tuple[Name, ...] = ()
    """The groups it looks after. Default: all that have the services, kinds and components that it names."""
    regions: tuple[str, ...] = ()
    """Where their primaries must be for it to count. Default: anywhere."""


class EstateFile(Settings):
    """The whole estate."""

    evac: Literal[1]
    """Version of this form: 1."""
    name: Name
    """What the estate is called."""
    store: str | None = None
    """Where evac remembers, as `etcd://user@host:port,host:port?password-file=PATH`, or `etcds://` for TLS with `ca`,
    `cert` and `key`; likewise `zookeeper://`, and `consul://` with `token-file` or `token-env`. Paths start at this
    file's folder (behind `--store` at the folder a command is typed in). Default: a file in the state folder."""
    signing_key: EstatePath | None = None
    """File with the private key that receipts are signed with (ed25519, PEM), on the host where evac runs, readable by
    evac only; made when it is not there. Default: `signing.key` in the state folder, of an agent
    `signing-REGION.key`."""
    regions: dict[Name, RegionSection] = Field(min_length=1)
    """Regions by name."""
    round_trips: dict[str, dict[str, Positive]] = Field(default_factory=dict)
    """Expected round trips between regions, each pair once: `us-east-1: {us-west-2: 62ms}`. Default: not declared."""
    detection: DetectionSection = DetectionSection()
    """When views become a verdict."""
    guard: GuardSection = GuardSection()
    """What keeps automation from acting too often."""
    maintenance: tuple[MaintenanceSection, ...] = ()
    """Windows in which work is expected. Default: none; a person announces one with `evac maintenance`."""
    triggers: dict[Name, TriggerSection] = Field(default_factory=dict)
    """Further reasons to act, by name. Default: none; the loss of a region, a service or a door needs none."""
    rejoin: Literal["automatic", "manual"] = "automatic"
    """Whether a lost region that answers again is made a standby without asking."""
    tiers: dict[int, TierSection] = Field(default_factory=dict)
    """Promises by tier, over the platform's defaults."""
    services: dict[Name, ServiceSection] = Field(min_length=1)
    """Services by name."""
    observers: dict[Name, ObserverSection] = Field(default_factory=dict)
    """What already watches many of these services, by name. Default: none, evac's own probes only."""
