"""What a person writes of a fault, and how it travels."""

from __future__ import annotations

import pytest

from evac.lab.control import LabError, decode_fault, encode_fault
from evac.lab.faults import Fault, FaultKind, Target
from evac.lab.quantities import value_of


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (FaultKind.LOSS, "40%", 0.4),
        (FaultKind.LOSS, "0.05", 0.05),
        (FaultKind.DELAY, "200ms", 0.2),
        (FaultKind.POWER, None, 0.0),
    ],
)
def test_values_are_read_with_their_units(kind: FaultKind, text: str | None, value: float) -> None:
    assert value_of(kind, text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (FaultKind.LOSS, None),
        (FaultKind.LOSS, "140%"),
        (FaultKind.LOSS, "much"),
        (FaultKind.LOSS, "0"),
        (FaultKind.DELAY, "200"),
        (FaultKind.DELAY, None),
        (FaultKind.KILL, "1"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused(kind: FaultKind, text: str | None) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        value_of(kind, text)


@pytest.mark.parametrize("kind", FaultKind)
def test_a_fault_comes_back_as_it_was_sent(kind: FaultKind) -> None:
    fault = Fault(kind=kind, region="us-east-1", to="ops", value=0.25, what=Target.CACHE, at_s=12.5)
    assert decode_fault(encode_fault(fault)) == fault
    assert "us-east-1" in str(fault)


@pytest.mark.parametrize("data", [{}, {"kind": "meteor", "region": "a"}, {"kind": "kill", "region": "a", "what": "x"}])
def test_what_is_no_fault_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(LabError):
        decode_fault(data)
