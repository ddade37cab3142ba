"""What a loaded estate holds, what a person is warned of, and that secrets stay where they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path

import pytest

from evac.config import Loaded, load
from evac.config.schema import DetectionSection, GuardSection
from evac.core.errors import EstateError
from evac.core.estate import (
    Automation,
    ComponentId,
    Detection,
    Guard,
    Purpose,
    RegionId,
    Replication,
    ReplicationMode,
    ServiceId,
)
from evac.core.timing import Holding
from evac.places.ssh import SshSettings
from fakes.kinds import DRIVERS, PROBES, DatabaseSettings, FormKind

VALID = (Path(__file__).parents[2] / "golden" / "estates" / "valid.yaml").read_text()
SECRET = "hunter2hunter2"

EAST, WEST = RegionId("us-east-1"), RegionId("us-west-2")

Read = Callable[..., Loaded]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Load the valid estate with some of its text replaced."""

    def loaded(*edits: tuple[str, str], mode: int = 0o600) -> Loaded:
        text = VALID
        for before, after in edits:
            assert before in text
            text = text.replace(before, after, 1)
        file = tmp_path / "estate.yaml"
        file.write_text(text)
        file.chmod(mode)
        return load(file, environ={}, drivers=DRIVERS, probes=PROBES)

    return loaded


def test_every_field_of_detection_and_guard_can_be_declared_with_the_same_default() -> None:
    for section, value in ((DetectionSection(), Detection()), (GuardSection(), Guard())):
        assert dict(section) == {f.name: getattr(value, f.name) for f in fields(value)}


def test_components_are_built_with_their_drivers_settings(read: Read) -> None:
    estate = read().estate
    database = estate.components[ComponentId("orders-db")]
    assert database.purpose is Purpose.STATE
    assert database.replication == Replication(mode=ReplicationMode.SYNC, acks=1, lag_max=timedelta(seconds=10))
    assert isinstance(database.members[RegionId("us-west-2")], DatabaseSettings)
    balancer = estate.components[ComponentId("shop-lb")]
    assert (balancer.purpose, balancer.replication) == (Purpose.ROUTER, None)
    assert balancer.service == "shop"
    assert {(p.service, p.region) for p in estate.probes} == {(s, r) for s in estate.services for r in estate.regions}


def test_places_are_ssh_settings_or_this_host(read: Read) -> None:
    loaded = read(("place: {ssh: {host: 10.0.1.1, user: evac}}", "place: local"))
    assert loaded.places[RegionId("us-east-1")] is None
    assert loaded.places[RegionId("us-west-2")] == SshSettings(host="10.0.2.1", user="evac")


def test_paths_start_at_the_estates_folder(read: Read, tmp_path: Path) -> None:
    loaded = read(("user: evac}", "user: evac, key: keys/evac, known_hosts: /etc/kh}"))
    place = loaded.places[RegionId("us-east-1")]
    assert place is not None
    assert (place.key, place.known_hosts) == (tmp_path / "keys/evac", Path("/etc/kh"))


def test_a_service_runs_where_its_members_are_unless_it_says_so(read: Read) -> None:
    last = "          eu-west-1: {host: 10.0.3.1}\n    probes:\n      - kind: look\n        settings: {port: 8080}"
    services = read((last, last.partition("\n")[2])).estate.services
    assert services[ServiceId("shop")].regions == ("us-east-1", "us-west-2")


def test_objectives_come_from_the_service_then_the_tier_then_the_platform(read: Read) -> None:
    edited = read(
        ("services:", "tiers: {1: {rto: 3m, mtpd: 2h}}\nservices:"),
        ("    tier: 1\n    regions", "    tier: 1\n    rto: 1m\n    regions"),
    )
    orders = edited.estate.services[ServiceId("orders")].objectives
    shop = edited.estate.services[ServiceId("shop")].objectives
    assert (orders.rto, orders.rpo, orders.mtpd) == (timedelta(minutes=1), timedelta(minutes=1), timedelta(hours=2))
    assert shop.rto == timedelta(minutes=3)


def test_round_trips_hold_in_both_directions(read: Read) -> None:
    trips = read(("services:", "round_trips: {us-east-1: {us-west-2: 62ms}}\nservices:")).estate.round_trips
    assert trips == {
        (RegionId("us-east-1"), RegionId("us-west-2")): timedelta(milliseconds=62),
        (RegionId("us-west-2"), RegionId("us-east-1")): timedelta(milliseconds=62),
    }


def test_groups_named_apart_are_not_tied_together(read: Read) -> None:
    estate = read(
        ("    tier: 1\n    regions", "    tier: 1\n    group: data\n    regions"),
        ("needs: [orders]", "needs: [orders]\n    group: web"),
    ).estate
    assert [s.group for s in estate.services.values()] == ["data", "web"]
    assert set(estate.home) == {"data", "web"}


def test_a_rejoin_may_be_left_to_people(read: Read) -> None:
    assert read().estate.rejoin_automatic
    assert not read(("services:", "rejoin: manual\nservices:")).estate.rejoin_automatic


def test_a_lease_waits_as_long_as_its_times_ask_for_unless_told_to_wait_longer(read: Read) -> None:
    store = ("name: shop", "name: shop\nstore: etcds://10.0.1.1")

    def held(lease: str) -> Holding:
        estate = read(("{mode: sync, acks: 1}", f"{{mode: async, lease: {lease}}}"), store).estate
        replication = estate.components[ComponentId("orders-db")].replication
        assert replication is not None
        assert replication.held is not None
        assert estate.without_leases().components[ComponentId("orders-db")].replication != replication
        return replication.held

    timing = held("{}").timing
    assert timing.problems() == ()
    assert timing.wait == timedelta(seconds=8.5)
    assert held("{watchdog: 15s, freeze: 0s}").timing.wait == timedelta(seconds=16.5)
    said = held("{wait: 20s, device: /dev/watchdog}")
    assert said.timing.wait == timedelta(seconds=20)
    assert said.device == "/dev/watchdog"
    database = read(("{mode: sync, acks: 1}", "{mode: async, lease: {}}")).estate.components[ComponentId("orders-db")]
    assert database.replication is not None
    assert database.replication.held is None, "without a store that all share there is no agent that could hold it"


def test_a_lease_needs_a_driver_that_says_what_to_kill(tmp_path: Path) -> None:
    database = DRIVERS["database"]
    unwatched = FormKind(name="database", settings=database.settings, support=replace(database.support, watched=False))
    file = tmp_path / "estate.yaml"
    file.write_text(VALID.replace("{mode: sync, acks: 1}", "{mode: async, lease: {}}"))
    with pytest.raises(EstateError, match="database says of no process what a watchdog could kill"):
        load(file, environ={}, drivers={**DRIVERS, "database": unwatched}, probes=PROBES)


def test_automatic_failover_of_asynchronous_data_is_warned_of(read: Read) -> None:
    asynchronous = ("{mode: sync, acks: 1}", "{mode: async}")
    (warning,) = read(asynchronous).warnings
    assert "estate.yaml:15: services.orders.components.orders-db.replication: is asynchronous" in warning
    held = ("{mode: sync, acks: 1}", "{mode: async, lease: {}}")
    (warning,) = read(held).warnings
    assert "replication.lease: is held only where an agent runs in every region" in warning
    assert read(held, ("name: shop", "name: shop\nstore: etcds://10.0.1.1")).warnings == ()
    manual = ("    tier: 1\n    regions", "    tier: 1\n    automation: manual\n    regions")
    loaded = read(asynchronous, manual)
    assert loaded.warnings == ()
    assert loaded.estate.services[ServiceId("orders")].automation is Automation.MANUAL


def test_a_plain_secret_in_a_readable_file_is_warned_of(read: Read) -> None:
    plain = ("{env: PGPASSWORD}", f"{{value: {SECRET}}}")
    assert read(plain).warnings == ()
    (warning,) = read(plain, mode=0o644).warnings
    assert "services.orders.components.orders-db.settings.password.value: is a secret in a file" in warning
    assert SECRET not in warning


def test_a_secret_is_in_no_text_of_what_was_loaded(read: Read) -> None:
    loaded = read(("{env: PGPASSWORD}", f"{{value: {SECRET}}}"))
    member = loaded.estate.components[ComponentId("orders-db")].members[RegionId("us-east-1")]
    assert isinstance(member, DatabaseSettings)
    assert member.password is not None
    assert member.password.read() == SECRET
    assert SECRET not in repr(loaded)
    assert SECRET not in str(loaded.document)


def test_regions_on_one_host_and_services_unseen_are_warned_of(read: Read) -> None:
    local = [(f"place: {{ssh: {{host: 10.0.{i}.1, user: evac}}}}", "place: local") for i in (1, 2)]
    probes = VALID[VALID.rindex("    probes:") :]
    one_host, unseen = read(*local, (probes, "")).warnings
    assert "estate.yaml:5: regions.us-west-2: stands on this host like us-east-1" in one_host
    assert "services.shop: has no probes" in unseen


def test_a_message_of_a_driver_never_repeats_a_secret(read: Read) -> None:
    with pytest.raises(EstateError) as caught:
        read(("{env: PGPASSWORD}", f"{{file: [{SECRET}]}}"), ("driver: balancer", f"driver: {'x' * 5}"))
    assert SECRET not in str(caught.value)
    assert len(caught.value.problems) == 2


def test_standbys_are_given_longer_than_finding_a_lost_region_takes(read: Read) -> None:
    assert read().estate.guard.standby_leaves_after == timedelta(seconds=10)
    slow = "detection: {interval: 10s, timeout: 5s, heartbeat_stale: 20s}\n"
    assert read(("services:", slow + "services:")).estate.guard.standby_leaves_after == timedelta(seconds=90.6)
    said = slow + "guard: {standby_leaves_after: 50s}\nservices:"
    assert read(("services:", said)).estate.guard.standby_leaves_after == timedelta(seconds=50)


OBSERVED = """
observers:
  metrics:
    kind: prometheus
    as_client: true
    interval: 2s
    settings: {query: 'probe_success{job="shop"}', bearer: {value: hunter2hunter2}}
    vantages: {us-east-1: {url: "http://10.0.1.9:9090"}, us-west-2: {url: "http://localhost:9090/prometheus/"}}
"""


def test_an_observer_tells_of_what_no_probe_asks_in_the_same_way(tmp_path: Path) -> None:
    file = tmp_path / "estate.yaml"
    file.write_text(VALID + OBSERVED)
    file.chmod(0o600)
    loaded = load(file, environ={}, drivers=DRIVERS, probes=PROBES)
    assert loaded.warnings == ()
    east, west = loaded.estate.observers
    assert (east.vantage, west.vantage, east.as_client, east.every) == (EAST, WEST, True, timedelta(seconds=2))
    assert east.targets == west.targets == {(s, r) for s in loaded.estate.services for r in loaded.estate.regions}
    assert SECRET not in f"{loaded}"
    assert west.settings.url == "http://localhost:9090/prometheus"  # type: ignore[attr-defined]

    file.write_text(VALID + OBSERVED.replace("as_client: true", "as_client: false"))
    loaded = load(file, environ={}, drivers=DRIVERS, probes=PROBES)
    assert not any(o.targets for o in loaded.estate.observers), "probes ask all of them already"


def test_a_service_that_is_observed_is_looked_at(tmp_path: Path) -> None:
    without, _, _ = VALID.rpartition("    probes:")
    file = tmp_path / "estate.yaml"
    file.write_text(without)
    assert "has no probes" in "".join(load(file, environ={}, drivers=DRIVERS, probes=PROBES).warnings)
    file.write_text(without + OBSERVED.replace("as_client: true", "as_client: false"))
    loaded = load(file, environ={}, drivers=DRIVERS, probes=PROBES)
    assert "has no probes" not in "".join(loaded.warnings)
    assert {s for s, _ in loaded.estate.observers[0].targets} == {"shop"}
