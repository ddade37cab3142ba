"""What an estate says of one PostgreSQL member: where it is, as whom to speak to it, and how its process is controlled.

What this is not: PostgreSQL's own configuration, which stays its owner's; evac changes only `primary_conninfo`,
`primary_slot_name`, `synchronous_standby_names` and its own `evac.term`, by `ALTER SYSTEM`.
"""

from __future__ import annotations

import posixpath
import shlex
from datetime import timedelta

from pydantic import Field, model_validator

from evac.core.watchdog import Watched
from evac.drivers.settings import Duration, Secret, Settings
from evac.drivers.systemd import Systemd


class PgCtl(Settings):
    """The server is started by `pg_ctl` and supervised by nobody."""

    log: str = ""
    """File the server logs to at the place; default `postgresql.log` beside the data directory."""


class Command(Settings):
    """The server is controlled by the operator's own commands, each a list of words run without a shell."""

    start: tuple[str, ...] = Field(min_length=1)
    """Starts it, and lets it be started again by whatever supervises it."""
    stop: tuple[str, ...] = Field(min_length=1)
    """Asks it to shut down (`fast`), and keeps its supervisor from starting it again; need not wait for the end."""
    kill: tuple[str, ...] = Field(min_length=1)
    """Ends it at once with all its children, and keeps its supervisor from starting it again."""
    status: tuple[str, ...] = Field(min_length=1)
    """Ends with 0 while the server runs, with 3 when nothing of it runs any more (as systemctl does)."""


class Control(Settings):
    """How the server's process is controlled: exactly one of `pg_ctl`, `systemd` and `command`."""

    pg_ctl: PgCtl | None = None
    """Started by pg_ctl."""
    systemd: Systemd | None = None
    """A systemd unit."""
    command: Command | None = None
    """Own commands."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Control:
        if sum(way is not None for way in (self.pg_ctl, self.systemd, self.command)) != 1:
            raise ValueError("needs exactly one of pg_ctl, systemd and command")
        return self


class PostgresqlSettings(Settings):
    """One member. Everything but `host` is commonly the same for all members of a component."""

    host: str
    """Host name or address, as seen from every region of the component."""
    port: int = 5432
    """TCP port; default 5432."""
    dbname: str
    """Database that evac connects to, and whose orphaned writes it lists."""
    user: str
    """Role evac connects as: a superuser, because it promotes and changes settings."""
    password: Secret | None = None
    """Its password; default none (pg_hba trusts it, or a client certificate is in `tls`)."""
    replication_user: str = ""
    """Role a standby connects to its primary as; default `user`."""
    replication_password: Secret | None = None
    """Its password; default that of `user`."""
    tls: dict[str, str] = Field(default_factory=dict)
    """libpq's TLS parameters (`sslmode`, `sslrootcert`, `sslcert`, `sslkey`) for every connection; default none."""
    name: str = ""
    """What the member calls itself to its primary (`application_name`); default its region's id."""
    slot: str = ""
    """Its physical replication slot at the primary; default its region's id, `-` replaced by `_`."""
    data_dir: str
    """Data directory at the place, an absolute path."""
    config_file: str = ""
    """The server's `postgresql.conf` if it is not in the data directory (as on Debian); default there."""
    bin_dir: str
    """Folder of PostgreSQL's programs (pg_ctl, pg_rewind, pg_basebackup, pg_waldump, psql, ...) at the place."""
    run_as: tuple[str, ...] = ()
    """Words before a command that run it as the server's owner, as `[sudo, -n, -u, postgres]`; default none."""
    control: Control = Control(pg_ctl=PgCtl())
    """How the process is controlled; default pg_ctl."""
    marker: str = ""
    """File that says that evac keeps the member down; default `evac.stopped` beside the data directory."""
    connect_timeout: Duration = timedelta(seconds=2)
    """Time to connect; default 2s."""
    answer_timeout: Duration = timedelta(seconds=2)
    """Time for the answer to an observation; default 2s."""
    stop_timeout: Duration = timedelta(seconds=5)
    """Time a clean shutdown may take before the processes are killed; default 5s."""
    settle_timeout: Duration = timedelta(seconds=10)
    """Time for a standby to leave its primary, to catch up, or to be promoted; default 10s."""
    stream_timeout: Duration = timedelta(seconds=40)
    """Time for a standby to stream from a new primary; default 40s."""
    rebuild_timeout: Duration = timedelta(hours=4)
    """Time pg_rewind or pg_basebackup may take; default 4h."""
    orphan_slot: str = "evac_orphans"
    """Logical slot at the primary from which orphaned writes are listed; default `evac_orphans`, empty for none."""
    orphan_wal_max_mb: int = 1024
    """Log (MB) the orphan slot may hold back for a standby that is away; beyond it a list is bounded; default 1024."""

    @model_validator(mode="after")
    def _absolute(self) -> PostgresqlSettings:
        for field in ("data_dir", "bin_dir"):
            if not getattr(self, field).startswith("/"):
                raise ValueError(f"{field} must be an absolute path at the place")
        return self

    @property
    def beside(self) -> str:
        """The folder that holds the data directory."""
        return posixpath.dirname(self.data_dir.rstrip("/"))

    @property
    def marker_path(self) -> str:
        return self.marker or posixpath.join(self.beside, "evac.stopped")

    @property
    def workshop(self) -> str:
        """Folder beside the data directory for what evac keeps while it rebuilds it."""
        return self.data_dir.rstrip("/") + ".evac"

    @property
    def log_path(self) -> str:
        given = self.control.pg_ctl.log if self.control.pg_ctl else ""
        return given or posixpath.join(self.beside, "postgresql.log")

    def watched(self) -> Watched:
        """Return what a watchdog kills, and how it keeps it down: as `fence` does."""
        lock: tuple[str, ...] = ()
        if self.control.systemd:
            mask = shlex.join((*self.control.systemd.prefix, "systemctl", "mask"))
            unit = shlex.quote(self.control.systemd.unit)
            lock = ("sh", "-c", f"{mask} {unit} || {mask} --runtime {unit}")
        return Watched(
            folder=self.data_dir,
            names=("postgres", "postmaster"),
            marker=self.marker_path,
            leave=(posixpath.join(self.data_dir, "standby.signal"),),
            lock=lock,
        )

    def program(self, name: str) -> str:
        """Return the path of one of PostgreSQL's programs at the place."""
        return posixpath.join(self.bin_dir, name)
