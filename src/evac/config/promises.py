"""Rules about promises: objectives exist, agree with one another, and can be kept by the timings that are declared."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from evac.config.build import detection, maintenance, objectives, replication
from evac.config.scene import Found, Rule, Scene
from evac.core.estate import Automation, ReplicationMode, WhenAlone
from evac.core.objectives import detection_bound
from evac.core.quiet import never_closes
from evac.drivers.settings import format_duration

LOST_PACKET = timedelta(seconds=1)
"""What one lost packet costs when a connection is opened: the first retransmission of a SYN."""


def tiers_have_targets(scene: Scene) -> Iterator[Found]:
    """Every service's promises come from somewhere."""
    for name, service in scene.file.services.items():
        if objectives(scene.file, service) is None:
            reason = (
                f"tier {service.tier} has no targets: the platform knows tiers 1 to 4; "
                f"declare rto, rpo and mtpd under tiers.{service.tier}"
            )
            yield Found(path=("services", name, "tier"), reason=reason)


def outages_end_before_they_kill(scene: Scene) -> Iterator[Found]:
    """The time to recover is within the longest outage that can be survived."""
    for name, service in scene.file.services.items():
        promised = objectives(scene.file, service)
        if promised is not None and promised.rto > promised.mtpd:
            rto, mtpd = format_duration(promised.rto), format_duration(promised.mtpd)
            reason = f"rto {rto} is longer than mtpd {mtpd}, the outage that can be survived; shorten rto or raise mtpd"
            yield Found(path=_promise(scene, name, "rto", "mtpd"), reason=reason)


def _promise(scene: Scene, service: str, *keys: str) -> tuple[str | int, ...]:
    """Return the path of the first of these promises that the file says, else the service's tier."""
    tier = str(scene.file.services[service].tier)
    said = [("services", service, key) for key in keys] + [("tiers", tier, key) for key in keys]
    return next((path for path in said if path in scene.document.marks), ("services", service, "tier"))


def loss_is_found_in_time(scene: Scene) -> Iterator[Found]:
    """Detecting a loss alone does not use up the time to recover."""
    longest = detection_bound(detection(scene.file))
    for name, service in scene.file.services.items():
        promised = objectives(scene.file, service)
        if promised is not None and longest >= promised.rto:
            reason = (
                f"rto {format_duration(promised.rto)} cannot be kept: finding the loss alone takes up to "
                f"{format_duration(longest)} by `detection`; probe more often or promise less"
            )
            yield Found(path=_promise(scene, name, "rto"), reason=reason)


def loss_fits_the_promise(scene: Scene) -> Iterator[Found]:
    """An asynchronous standby that may be promoted is not further behind than may be lost."""
    for path, service, name, section in scene.components():
        promised = objectives(scene.file, scene.file.services[service])
        if not scene.holds_state(name) or promised is None:
            continue
        said = replication(section)
        if said.mode is ReplicationMode.ASYNC and said.lag_max > promised.rpo:
            reason = (
                f"lag_max {format_duration(said.lag_max)} is more than rpo {format_duration(promised.rpo)}: a standby "
                "that far behind would be promoted; lower lag_max, raise rpo, or replicate with mode: sync"
            )
            yield Found(path=(*path, "replication", "lag_max"), reason=reason)


def asynchronous_needs_a_person(scene: Scene) -> Iterator[Found]:
    """Without acknowledgements nothing proves from afar that a silent primary has stopped."""
    for path, service, name, section in scene.components():
        automatic = scene.file.services[service].automation is Automation.AUTOMATIC
        said = replication(section) if scene.holds_state(name) else None
        if said is not None and said.acks == 0 and said.held is None and automatic:
            reason = (
                "is asynchronous and its service fails over automatically: when the region is silent, nothing proves "
                "that the old primary has stopped, so evac will wait for a person to force it; use mode: sync, hold "
                "the primary under a lease (lease: {}), or say automation: manual"
            )
            yield Found(path=(*path, "replication"), reason=reason, warning=True)


def timings_agree(scene: Scene) -> Iterator[Found]:
    """Time-outs leave room for the way there and back, and windows hold enough probes to count."""
    detection = scene.file.detection
    trips = [trip for others in scene.file.round_trips.values() for trip in others.values()]
    farthest = max(trips, default=timedelta(0))
    if detection.timeout <= farthest:
        yield _timing("timeout", f"must be more than the longest declared round trip, {format_duration(farthest)}")
    if detection.client_timeout <= LOST_PACKET + farthest:
        least = format_duration(LOST_PACKET + farthest)
        why = f"must be more than {least}: 1s for one lost packet when a connection is opened"
        yield _timing("client_timeout", f"{why}, plus the longest declared round trip")
    if detection.heartbeat_stale <= detection.interval:
        least = format_duration(detection.interval)
        yield _timing("heartbeat_stale", f"must be more than interval, {least}: a heartbeat is written that often")
    if detection.gray_window < 4 * detection.client_interval:
        least = format_duration(4 * detection.client_interval)
        yield _timing("gray_window", f"must be at least {least}, four times client_interval, to count anything")


def _timing(key: str, reason: str) -> Found:
    return Found(path=("detection", key), reason=reason)


def suppression_can_end(scene: Scene) -> Iterator[Found]:
    """A suppressed group becomes free again below the level that suppressed it."""
    guard = scene.file.guard
    if guard.flap_reuse >= guard.flap_suppress:
        reason = f"must be less than flap_suppress, {guard.flap_suppress:g}"
        yield Found(path=("guard", "flap_reuse"), reason=reason)


def standbys_are_judged_slower_than_regions(scene: Scene) -> Iterator[Found]:
    """A standby is missed later than its primary: whether the stream or its source broke must be known first."""
    sure, guard = detection_bound(detection(scene.file)), scene.file.guard
    if "standby_leaves_after" in guard.model_fields_set and guard.standby_leaves_after <= sure:
        reason = (
            f"must be more than {format_duration(sure)}, which finding a lost region takes by `detection`: a primary "
            "that is lost looks like standbys that are away"
        )
        yield Found(path=("guard", "standby_leaves_after"), reason=reason)


def going_on_alone_is_for_who_waits(scene: Scene) -> Iterator[Found]:
    """An asynchronous primary waits for nobody, so there is nothing to choose."""
    for path, _, name, section in scene.components():
        said = replication(section) if scene.holds_state(name) else None
        if said is not None and said.mode is ReplicationMode.ASYNC and said.when_alone is WhenAlone.DEGRADE:
            reason = "an asynchronous primary waits for no standby anyway; leave when_alone away, or use mode: sync"
            yield Found(path=(*path, "replication", "when_alone"), reason=reason)


def maintenance_ends(scene: Scene) -> Iterator[Found]:
    """A window closes before it opens again: else it turns automation off for good, by another name."""
    for position, section in enumerate(scene.file.maintenance):
        if never_closes(maintenance(section)):
            lasts = format_duration(section.lasts)
            reason = (
                f"{lasts} is no shorter than the time until it begins again, so it never ends; shorten it, or say"
                " `automation: manual` where evac must not act by itself"
            )
            yield Found(path=("maintenance", position, "lasts"), reason=reason)


PROMISES: tuple[Rule, ...] = (
    tiers_have_targets,
    outages_end_before_they_kill,
    loss_is_found_in_time,
    loss_fits_the_promise,
    asynchronous_needs_a_person,
    timings_agree,
    suppression_can_end,
    standbys_are_judged_slower_than_regions,
    going_on_alone_is_for_who_waits,
    maintenance_ends,
)
