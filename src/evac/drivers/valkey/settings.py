"""Settings of a Valkey member: where it is, as whom to act, and how its process is stopped when it does not answer."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from evac.drivers.settings import Duration, Secret, Settings
from evac.drivers.systemd import Systemd


def _tuple(given: object) -> object:
    return tuple(given) if isinstance(given, list) else given


Argv = Annotated[tuple[str, ...], BeforeValidator(_tuple), Field(min_length=1)]
"""A program and its arguments; no shell looks at them."""


class Commands(Settings):
    """Own commands that stop and start the server, run on the region's host."""

    stop: Argv
    """Ends the server at once, whatever it does (SIGKILL), and keeps it down."""
    start: Argv
    """Starts it again."""


class Control(Settings):
    """How the process is stopped and started: exactly one way."""

    systemd: Systemd | None = None
    """A systemd unit: masked and killed, or unmasked and started."""
    commands: Commands | None = None
    """Own commands."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.systemd is None) == (self.commands is None):
            raise ValueError("needs exactly one of systemd and commands")
        return self


class ValkeySettings(Settings):
    """One Valkey or Redis server."""

    host: str
    """Host name or address, as seen from its own region and from the other members."""
    port: int = 6379
    """TCP port; default 6379."""
    username: str | None = None
    """ACL user; default: the server's default user. It needs `+@admin +@read +@write +@transaction +info`, all keys."""
    password: Secret | None = None
    """Its password; default none."""
    replicas_lag_max: Duration = timedelta(seconds=10)
    """The server's `min-replicas-max-lag`, which a fence waits for; default 10 s, as Valkey's. `check` compares it."""
    resync_max: Duration = timedelta(hours=1)
    """How long a whole copy may take when the member rejoins; default 1 h."""
    control: Control | None = None
    """How its process is stopped when it does not answer, and started; default: it is not."""
