"""The watch finds a yes without a lease: too old, another's, or nobody's; whatever life the store is in."""

from __future__ import annotations

import pytest

from evac.core.estate import RegionId
from evac.core.lease import Tenure
from evac.core.plan import Term
from evac.sim.estates import EAST, WEST
from evac.sim.leased import Leases
from evac.sim.setting import HOLDING
from evac.sim.writers import Acknowledged

LONGEST = (HOLDING.age_max * (1 + HOLDING.drift) + HOLDING.freeze).total_seconds()


def found(*written: tuple[RegionId, float], by: RegionId, said: float) -> list[str]:
    broken: list[str] = []
    leases = Leases(HOLDING, lambda rule, what: broken.append(f"{rule}: {what}"))
    for region, at in written:
        leases.written(Tenure(region=region, term=Term(1)), at)
    leases.told(Acknowledged(name="x", node=by, term=1, invoked=said, said=said, heard=said))
    return broken


def test_a_yes_under_a_lease_is_as_it_should_be() -> None:
    assert found((EAST, 1.0), by=EAST, said=1.0 + LONGEST / 2) == []
    assert found(by=EAST, said=1.0) == [], "nobody is held yet"


@pytest.mark.parametrize(
    ("written", "said", "why"),
    [
        ([(EAST, 1.0)], 1.1 + LONGEST, "was older than"),
        ([(EAST, 1.0), (WEST, 2.0)], 2.1, "had become another's"),
        ([(WEST, 1.0)], 1.1 + LONGEST, "was older than"),
    ],
)
def test_a_yes_without_a_lease_breaks_its_promise(written: list[tuple[RegionId, float]], said: float, why: str) -> None:
    (broken,) = found(*written, by=EAST, said=said)
    assert broken.startswith("S5: x was acknowledged by us-east-1")
    assert why in broken


def test_whose_it_is_by_its_record() -> None:
    leases = Leases(HOLDING, lambda rule, what: None)
    assert not leases.has(EAST)
    leases.written(Tenure(region=EAST, term=Term(1)), 1.0)
    assert leases.has(EAST)
    leases.written(Tenure(region=WEST, term=Term(2)), 2.0)
    assert (leases.has(EAST), leases.has(WEST)) == (False, True)
    leases.written(Tenure(region=EAST, term=Term(3)), 3.0)
    assert leases.has(EAST)
