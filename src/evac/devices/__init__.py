"""Devices that switch a silent primary's host off from outside: a cloud's API, a power strip, a hypervisor.

Intuition: a device is believed for what it says afterwards, not for having taken the order: it is asked for the state
until that is "off" (`engine.switching`). Whatever is not spoken to over HTTP is spoken to by a command.

What a device cannot say: that its host stays off.
"""

from __future__ import annotations

from evac.devices.command import CommandDevice
from evac.devices.http import HttpDevice
from evac.devices.settings import DeviceSettings
from evac.ports import Device, Place

__all__ = ["DeviceSettings", "open_device"]


def open_device(settings: DeviceSettings, place: Place) -> Device:
    """Return the device of these settings, as it is reached from a place. Nothing is asked of it yet."""
    if settings.command is not None:
        return CommandDevice(settings=settings.command, says=settings.says, place=place)
    assert settings.http is not None, "settings name one of the two"
    return HttpDevice(settings=settings.http, says=settings.says)
