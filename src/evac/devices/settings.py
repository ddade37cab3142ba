"""What an estate says of a device: how its host is switched off, how its state is asked for, and what says "off"."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from evac.drivers.settings import Duration, EstatePath, Secret, Settings

Some = Annotated[Duration, Field(gt=timedelta(0), le=timedelta(seconds=60))]
"""A time that leaves room for tries within a step."""


class CommandDeviceSettings(Settings):
    """Two programs, run without a shell where evac acts in the region that takes over."""

    off: tuple[str, ...] = Field(min_length=1)
    """Switches the host off, whatever it does; program and arguments, as text each. Exit code 0: the order was
    taken. Run again, it does no harm."""
    state: tuple[str, ...] = Field(min_length=1)
    """Prints the host's state, alone, and ends with exit code 0."""
    secret: Secret | None = None
    """Given to both on their standard input. Default: none."""
    timeout: Some = timedelta(seconds=10)
    """How long each may run."""


class RequestSettings(Settings):
    """One HTTP request."""

    url: str = Field(pattern=r"^https?://[^/?#@]+([/?#].*)?$")
    """Where to, without a user in it: `https://cloud.example/hosts/7/power`."""
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    """Its method."""
    body: str = ""
    """Its body; with one, say its `Content-Type` under `headers`. Default: none."""
    headers: Mapping[str, str] = Field(default_factory=dict)
    """Its own headers."""

    @field_validator("headers")
    @classmethod
    def _nothing_secret(cls, headers: Mapping[str, str]) -> Mapping[str, str]:
        if any(name.lower() in ("authorization", "cookie", "x-api-key") for name in headers):
            raise ValueError("names a secret header; write it under secret_headers, as {file: path}")
        return headers


class HttpDeviceSettings(Settings):
    """An HTTP API, spoken to from the host that evac runs on. Answers of 200 to 299 are good; redirects are not
    followed."""

    off: RequestSettings
    """Switches the host off, whatever it does. Sent again, it does no harm."""
    state: RequestSettings
    """Asks for the host's state."""
    field: str = ""
    """Where the answer says it, for JSON: `status`, `host.power.0`. Default: the whole body."""
    secret_headers: Mapping[str, Secret] = Field(default_factory=dict)
    """Headers of both that carry a secret: `{Authorization: {file: keys/cloud}}`. Default: none."""
    ca: EstatePath | None = None
    """Certificates to trust, as a PEM file. Default: the system's."""
    timeout: Some = timedelta(seconds=5)
    """How long each may take."""


class DeviceSettings(Settings):
    """What can switch a member's host off: a `command`, or an `http` API; exactly one of them."""

    command: CommandDeviceSettings | None = None
    """Programs that do it."""
    http: HttpDeviceSettings | None = None
    """An API that does it."""
    says: str = Field(default="off", min_length=1)
    """What the state is called when the host is off; small and capital letters are one."""
    poll: Some = timedelta(milliseconds=500)
    """How often the state is asked for after the order."""
    within: Some = timedelta(seconds=30)
    """How long that is repeated until it counts as not switched off."""

    @model_validator(mode="after")
    def _exactly_one(self) -> DeviceSettings:
        if (self.command is None) == (self.http is None):
            raise ValueError("needs exactly one of command and http")
        return self
