"""How members, slots and positions are named in PostgreSQL's own words.

Intuition: evac counts positions as whole bytes and members as regions; PostgreSQL writes `0/3000060`, calls a standby
by its `application_name`, and lets a slot's name hold only small letters, digits and underscores. All translation
between the two is here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from evac.core.estate import RegionId
from evac.drivers.postgresql.settings import PostgresqlSettings

_ANY = re.compile(r"^\s*(?:ANY|FIRST)?\s*(\d+)?\s*\(?(.*?)\)?\s*$", re.IGNORECASE | re.DOTALL)
_NAME = re.compile(r'"((?:[^"]|"")*)"|([^\s,()"]+)')
_HISTORY = re.compile(r"^\s*(\d+)\s+([0-9A-F]+/[0-9A-F]+)", re.IGNORECASE | re.MULTILINE)


def lsn(position: int) -> str:
    """Return a position in bytes as PostgreSQL writes it, `0/3000060`."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def position(text: str) -> int:
    """Return the position in bytes that text such as `0/3000060` names."""
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def segment_name(timeline: int, position: int, segment_bytes: int) -> str:
    """Return the name of the log file of a timeline that holds a position."""
    number, per_file = position // segment_bytes, 0x100000000 // segment_bytes
    return f"{timeline:08X}{number // per_file:08X}{number % per_file:08X}"


def history_name(timeline: int) -> str:
    """Return the name of the file that says where a timeline's ancestors were left."""
    return f"{timeline:08X}.history"


def application_name(region: RegionId, settings: PostgresqlSettings) -> str:
    """Return what a member calls itself to its primary."""
    return settings.name or region


def slot_name(region: RegionId, settings: PostgresqlSettings) -> str:
    """Return the name of a member's physical slot at its primary."""
    return settings.slot or re.sub(r"[^a-z0-9_]", "_", region.lower())


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """Whose acknowledgement a primary waits for: any `acks` of `names`; 0 for nobody's."""

    acks: int
    names: tuple[str, ...]

    def text(self) -> str:
        """Return the value of `synchronous_standby_names`."""
        if not self.acks or not self.names:
            return ""
        quoted = ", ".join('"' + name.replace('"', '""') + '"' for name in self.names)
        return f"ANY {self.acks} ({quoted})"


def waits(text: str) -> Waits:
    """Return what a value of `synchronous_standby_names` asks for. A list without a number waits for one."""
    match = _ANY.match(text)
    names = tuple(quoted.replace('""', '"') or plain for quoted, plain in _NAME.findall(match[2] if match else ""))
    if not match or not names:
        return Waits(acks=0, names=())
    return Waits(acks=int(match[1] or 1), names=names)


def regions_of(names: Sequence[str], peers: Mapping[RegionId, PostgresqlSettings]) -> tuple[RegionId, ...]:
    """Return the regions that members of these names are in; a name nobody has is left out."""
    by_name = {application_name(region, settings): region for region, settings in peers.items()}
    return tuple(by_name[name] for name in names if name in by_name)


def upstream_conninfo(
    own: RegionId, upstream: RegionId, peers: Mapping[RegionId, PostgresqlSettings], *, passfile: str = ""
) -> str:
    """Return the `primary_conninfo` by which a member follows another.

    A server writes a changed setting to its log, so the password is named by a file there; without one it stands in
    the text: never log it.
    """
    there, here = peers[upstream], peers[own]
    secret = there.replication_password or there.password
    return make_conninfo(
        host=there.host,
        port=there.port,
        user=there.replication_user or there.user,
        password=secret.read() if secret and not passfile else None,
        passfile=passfile or None,
        application_name=application_name(own, here),
        connect_timeout=2,
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
        **there.tls,
    )


def passfile_lines(own: RegionId, peers: Mapping[RegionId, PostgresqlSettings]) -> str:
    """Return a password file by which a member can follow each of the others (libpq, "The Password File")."""
    lines = []
    for region, there in peers.items():
        secret = there.replication_password or there.password
        if region != own and secret is not None:
            fields = (there.host, str(there.port), "*", there.replication_user or there.user, secret.read())
            lines.append(":".join(field.replace("\\", "\\\\").replace(":", "\\:") for field in fields))
    return "".join(f"{line}\n" for line in lines)


def upstream_region(conninfo: str, peers: Mapping[RegionId, PostgresqlSettings]) -> RegionId | None:
    """Return the region that a `primary_conninfo` leads to; None for an empty or foreign one."""
    if not conninfo:
        return None
    given = conninfo_to_dict(conninfo)
    at = str(given.get("hostaddr") or given.get("host")), str(given.get("port", "5432"))
    return next((region for region, s in peers.items() if (s.host, str(s.port)) == at), None)


def forks(history: str) -> dict[int, int]:
    """Return where each earlier timeline was left, by a timeline's history file: timeline to position."""
    return {int(timeline): position(where) for timeline, where in _HISTORY.findall(history)}
