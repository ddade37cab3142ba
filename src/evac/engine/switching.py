"""A member whose silent peers can be switched off by a device, as a driver: the verb `switch-off` is done here.

Intuition: the order alone proves nothing. It is given, and then the device is asked for the state until it says that
the host is off; that answer is the receipt. Where it does not come in time the host may be off all the same, so the
next who looks asks the device again.

What this is not: how a device is spoken to (`evac.devices`), or when a fence is a device's (`core.planning`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from evac.core.errors import DriverError, Indeterminate, Rejected
from evac.core.estate import RegionId
from evac.core.observation import Json, MemberState
from evac.core.plan import Action, Verb
from evac.core.run import Receipt
from evac.ports import Clock, Device, Driver, Finding, Holds, Truth


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """A device, how often it is asked after the order, and for how long."""

    device: Device
    poll: timedelta
    within: timedelta


class SwitchingMember:
    """A member, and what can switch the component's members in other regions off (`ports.Driver`)."""

    def __init__(self, member: Driver, *, switches: Mapping[RegionId, Switch], clock: Clock) -> None:
        self._member = member
        self._switches = switches
        self._clock = clock

    async def check(self) -> tuple[Finding, ...]:
        """Check the member, and whether each device says its host's state."""
        return (*await self._member.check(), *[await _looked(r, s) for r, s in self._switches.items()])

    async def observe(self) -> MemberState:
        return await self._member.observe()

    async def holds(self, action: Action) -> Holds:
        if action.verb is not Verb.SWITCH_OFF:
            return await self._member.holds(action)
        region, switch = self._of(action)
        try:
            off = await switch.device.says_off()
        except DriverError as error:
            return Holds(truth=Truth.UNKNOWN, reason=str(error))
        return Holds(truth=Truth.YES, receipt=_receipt(region)) if off else Holds(truth=Truth.NO)

    async def do(self, action: Action) -> Receipt:
        if action.verb is not Verb.SWITCH_OFF:
            return await self._member.do(action)
        region, switch = self._of(action)
        last = "it does not say that it is off"
        try:
            await switch.device.switch_off()
        except Indeterminate as error:
            last = str(error)
        begun = self._clock.now()
        while (waited := self._clock.now() - begun) < switch.within:
            try:
                if await switch.device.says_off():
                    return _receipt(region, waited)
            except DriverError as error:
                last = str(error)
            await self._clock.sleep(switch.poll)
        raise Indeterminate(f"the device was told to switch {region} off {waited.total_seconds():.0f} s ago: {last}")

    async def undo(self, action: Action) -> Receipt:
        return await self._member.undo(action)

    async def close(self) -> None:
        await self._member.close()

    def _of(self, action: Action) -> tuple[RegionId, Switch]:
        region = RegionId(str(action.args.get("old")))
        if region not in self._switches:
            raise Rejected(f"{action.component} has no device for {region}: name one under devices in the estate")
        return region, self._switches[region]


def _receipt(region: RegionId, waited: timedelta | None = None) -> Receipt:
    facts: dict[str, Json] = {"switched_off": region}
    if waited is not None:
        facts["waited_s"] = round(waited.total_seconds(), 3)
    return Receipt(kind="device", facts=facts)


async def _looked(region: RegionId, switch: Switch) -> Finding:
    try:
        off = await switch.device.says_off()
    except DriverError as error:
        return Finding(
            ok=False,
            what=f"the device for {region} does not say its host's state: {error}",
            remedy="correct it under devices in the estate, or mend the device",
        )
    state = "off" if off else "not off"
    return Finding(ok=True, what=f"the device for {region} answers: its host is {state}")
