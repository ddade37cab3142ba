"""What an estate's triggers become: their expressions are read and asked, and shipped ones are whole by their name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from evac.config import Loaded, load
from evac.config.conditions import Compiled, Declared, Refused, compiled, durations, identifier
from evac.config.schema import TriggerSection
from evac.config.shipped import SHIPPED, whole
from evac.core.errors import EstateError
from evac.core.facts import FACTS, Form
from evac.core.trigger import Action, Scope, Severity, Value
from fakes.kinds import DRIVERS, PROBES

VALID = (Path(__file__).parents[2] / "golden" / "estates" / "valid.yaml").read_text()
PARTS = Declared(
    parts={
        Scope.SERVICE: ("orders", "shop-api", "7-up", "in", "null"),
        Scope.KIND: ("database",),
        Scope.COMPONENT: ("orders-db",),
    }
)
Read = Callable[..., Loaded]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Load the valid estate with triggers."""

    def loaded(triggers: str, *, edit: tuple[str, str] = ("", "")) -> Loaded:
        file = tmp_path / "estate.yaml"
        file.write_text(VALID.replace(*edit) + "triggers:\n" + triggers)
        file.chmod(0o600)
        return load(file, environ={}, drivers=DRIVERS, probes=PROBES)

    return loaded


def asked(text: str, **facts: Value) -> bool | str:
    """Ask an expression; the names of facts are given with `__` for a point."""
    found = compiled(text, PARTS)
    assert isinstance(found, Compiled), found
    return found.condition({name.replace("__", "."): value for name, value in facts.items()})


def reads(text: str) -> list[str]:
    found = compiled(text, PARTS)
    assert isinstance(found, Compiled), found
    return [named.written for named in found.reads]


def test_an_expression_is_asked_of_facts_of_every_form() -> None:
    assert asked("region.availability < 0.5", region__availability=0.3) is True
    assert asked("region.availability < 0.5", region__availability=0.5) is False
    assert asked("!services.orders.reachable", services__orders__reachable=False) is True
    assert asked("components.orders_db.streaming < 2", components__orders_db__streaming=1) is True
    slow = 'services.shop_api.p95 > duration("1m30s")'
    assert asked(slow, services__shop_api__p95=timedelta(seconds=91)) is True
    assert asked(slow, services__shop_api__p95=timedelta(seconds=90)) is False


def test_what_is_not_known_is_unknown_unless_the_rest_decides() -> None:
    both = "region.availability < 0.5 && services.orders.reachable"
    assert asked(both, region__availability=0.3) == "services.orders.reachable is not known"
    assert asked(both, region__availability=0.9) is False
    assert asked(both, services__orders__reachable=False) is False
    either = "region.availability < 0.5 || services.orders.reachable"
    assert asked(either, region__availability=0.3) is True
    assert asked(either, region__availability=0.9) == "services.orders.reachable is not known"


def test_an_error_is_unknown_and_never_false() -> None:
    assert asked("1 / components.orders_db.streaming > 0", components__orders_db__streaming=0) == "divide by zero"
    ten = "[0, 1, 2, 3, 4, 5, 6, 7, 8, 9].all("
    deep = "".join(f"{ten}{x}, " for x in "abcdef") + "region.availability > 0.1" + ")" * 6
    assert asked(deep, region__availability=0.5) == "Iteration budget exceeded"


def test_an_expression_names_what_it_reads() -> None:
    text = """region.availability < 0.5 && 'services.orders.reachable' != "x"
      || services.orders.p95.getSeconds() > 5 || kinds.database.reachable"""
    assert reads(text) == ["region.availability", "services.orders.p95", "kinds.database.reachable"]


def test_names_are_written_as_identifiers() -> None:
    assert [identifier(n) for n in ("orders-db", "7-up", "in", "null")] == ["orders_db", "_7_up", "_in", "_null"]
    for name in ("shop_api", "_7_up", "_in", "_null"):
        assert reads(f"services.{name}.reachable") == [f"services.{name}.reachable"]


def test_every_fact_can_be_read() -> None:
    literal = {Form.TRUTH: "true", Form.SHARE: "0.5", Form.COUNT: "1", Form.SPAN: 'duration("1s")'}
    of = {Scope.REGION: "region", Scope.SERVICE: "services.orders", Scope.COMPONENT: "components.orders_db"}
    for fact in FACTS.values():
        assert reads(f"{of[fact.scope]}.{fact.name} == {literal[fact.form]}")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("dyn(region.availability)", "is of type dyn, where true or false is due; compare it with something"),
        ("'a' + region.availability == 'b'", "+ does not go with text and a number (character 5)"),
        ("services == 1", "services is no fact by itself; there are orders, shop_api, _7_up, _in, _null in it"),
        ("kinds.database.throughput > 1.0", "throughput is not a fact of kinds.database; there are reachable"),
        ("region.availability < 0.5 && (" * 400, "recursion limit exceeded"),
        ('services.orders.p95 > duration("\\x00")', "is no duration"),
        ("services.orders.p95 > duration('\\')", "is not an expression"),
        ("", "is not an expression"),
    ],
)
def test_what_is_wrong_is_said(text: str, reason: str) -> None:
    found = compiled(text, PARTS)
    assert isinstance(found, Refused)
    assert any(reason in said for said in found.reasons), found.reasons


def test_of_many_names_some_are_listed() -> None:
    many = Declared(parts={Scope.SERVICE: tuple(f"service-{i}" for i in range(20))})
    found = compiled("services.x.reachable", many)
    assert isinstance(found, Refused)
    assert "service_11 and 8 more" in found.reasons[0]


def test_durations_that_are_written_out() -> None:
    text = (
        'services.orders.p95 > duration("5s") || services.orders.p95 > duration( \'1m\') || duration("x") > duration(y)'
    )
    assert durations(text) == (timedelta(seconds=5), timedelta(minutes=1))


def test_a_trigger_is_built_with_what_it_says(read: Read) -> None:
    (made,) = read(
        """  behind:
    when: |
      components.orders_db.lag
        > duration("5s")
    for: 2m
    severity: info
    action: call
    automatic: true
    rto: 10m
    says: look at the standbys
    regions: [us-east-1]
"""
    ).estate.triggers
    assert (made.name, made.when) == ("behind", 'components.orders_db.lag > duration("5s")')
    assert (made.lasting, made.rto) == (timedelta(minutes=2), timedelta(minutes=10))
    assert (made.severity, made.action, made.automatic) == (Severity.INFO, Action.CALL, True)
    assert (made.says, [*made.groups], [*made.regions]) == ("look at the standbys", ["orders"], ["us-east-1"])


def test_it_looks_after_the_groups_that_have_what_it_reads(read: Read) -> None:
    apart = ("needs: [orders]", "group: web")
    text = """  of-all: {when: region.availability < 0.5, for: 1m, action: call}
  of-one: {when: services.shop.error_rate > 0.5, for: 1m, action: call}
  of-kind: {when: "!kinds.database.reachable", for: 1m, action: call}
  of-component: {when: "!components.orders_db.writable", for: 1m, action: call}
  said: {when: region.availability < 0.5, for: 1m, action: call, groups: [web]}
"""
    made = read(text, edit=apart).estate.triggers
    assert [sorted(t.groups) for t in made] == [["orders", "web"], ["web"], ["orders"], ["orders"], ["web"]]
    assert {region for t in made for region in t.regions} == {"us-east-1", "us-west-2", "eu-west-1"}


def test_the_shipped_ones_are_whole_by_their_name_and_can_be_changed_in_part(read: Read) -> None:
    shipped = read("".join(f"  {name}: {{}}\n" for name in SHIPPED)).estate.triggers
    assert [(t.name, t.lasting.total_seconds(), t.action, t.automatic) for t in shipped] == [
        ("database-unreachable", 30, "failover", True),
        ("api-failing", 60, "failover", True),
        ("region-mostly-down", 120, "failover", True),
        ("slow-answers", 300, "shift", True),
    ]
    (changed,) = read("  region-mostly-down: {for: 4m, automatic: false}\n").estate.triggers
    assert (changed.lasting, changed.automatic) == (timedelta(minutes=4), False)
    assert changed.when == "region.availability < 0.5"
    own = TriggerSection.parse({"when": "region.availability < 0.1"})
    assert whole("mine", own) is own


def test_a_person_is_warned_of_triggers_that_come_to_nothing(read: Read) -> None:
    warned = read(
        """  slow-answers: {}
  slow: {when: services.shop.p95 > duration("2500ms"), for: 1m, action: call}
  quick: {when: services.shop.p95 > duration("2s"), for: 1m, action: call}
  of-nobody: {when: "!kinds.queue.reachable", for: 1m, action: shift}
"""
    ).warnings
    said = [line.partition("estate.yaml:")[2] for line in warned]
    slower = "a slower one is a failure, which is acted on sooner; raise detection.client_timeout, or lower the bound"
    no_door = "shifts traffic, and no router of orders chooses where clients enter: it calls a person"
    assert said == [
        f"42: triggers.slow-answers: {no_door}",
        f"42: triggers.slow-answers: waits for answers of 5s, and no probe waits longer than 2.5s: {slower}",
        f"43: triggers.slow.when: waits for answers of 2.5s, and no probe waits longer than 2.5s: {slower}",
        "45: triggers.of-nobody.when: looks after nothing: no group has all that it reads (kinds.queue.reachable)",
    ]


def test_a_router_that_chooses_doors_is_enough_for_a_shift(read: Read) -> None:
    door = ("driver: balancer", "driver: balancer\n        directs: entry")
    text = "  slow: {when: services.shop.p95 > duration('1s'), for: 1m, action: shift}\n"
    assert read(text, edit=door).warnings == ()


def test_figures_of_hosts_by_an_observer_as_the_how_to_has_them(read: Read) -> None:
    hosts = """  hosts: {kind: compute, tier: 3, regions: [us-east-1, us-west-2, eu-west-1]}
observers:
  cpu:
    kind: prometheus
    as_client: true
    services: [hosts]
    settings: {query: "region:cpu_busy:avg", well_min: 0, well_max: 0.9}
    vantages:
      us-east-1: {url: "http://10.0.1.1:9090"}
      us-west-2: {url: "http://10.0.2.1:9090"}
      eu-west-1: {url: "http://10.0.3.1:9090"}
"""
    busy = "  hosts-busy: {when: '!services.hosts.reachable', for: 3m, action: failover}\n"
    text = VALID.replace("needs: [orders]", "needs: [orders]\n    wants: [hosts]")
    loaded = read(busy, edit=(VALID, text + hosts))
    assert loaded.warnings == ()
    assert [sorted(t.groups) for t in loaded.estate.triggers] == [["orders"]]


def test_a_refused_estate_says_so_once(read: Read) -> None:
    with pytest.raises(EstateError) as caught:
        read("  slow: {when: services.shop.p96 > duration('1s'), for: 1m, action: shift}\n")
    assert len(caught.value.problems) == 1


def test_the_language_is_loaded_for_estates_with_triggers_only(tmp_path: Path) -> None:
    file = tmp_path / "estate.yaml"
    code = (
        "import sys; from pathlib import Path; import evac.cli; from evac.config import load\n"
        "load(Path(sys.argv[1]), environ={}); print(any('cel' in m.split('_') for m in sys.modules))"
    )
    starter = Path(__file__).parents[3] / "src" / "evac" / "config" / "estates" / "starter.yaml"
    for triggers, loads in (("", "False"), ("\ntriggers: {region-mostly-down: {}}\n", "True")):
        file.write_text(starter.read_text() + triggers)
        file.chmod(0o600)
        done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == loads
