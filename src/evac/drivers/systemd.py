"""A server that is a systemd unit: kept down for certain, seen to have ended, and let run again.

Intuition: a killed service is brought back by systemd (`Restart=`), by a reboot, or by whoever types `systemctl start`.
A masked unit resists all of them; where it cannot be masked, a stop job at least takes the restart away. So: mask, see
whether the mask holds, and only then end the processes. Each script is sent whole: one round trip on a slow link.

Measured on systemd 252:
- A unit whose file lies in /etc/systemd/system cannot be masked there (the file is in the way), and a mask in /run,
  which succeeds, is hidden by it: the service is back a moment after its processes were killed. What holds is asked for
  (`LoadState`), never what `systemctl mask` answers.
- To mask is to reload: the unit forgets its KillSignal, KillMode and ExecStop. So a masked unit is not told to stop
  while its server is to end cleanly; the driver itself asks the server.
- `unmask` leaves a mask in /run as it is, and `kill` fails when the unit has ended already.
- An alias (Debian's `redis.service`) cannot be masked: its link is in the way.

What this is not: what makes the server's own data safe from being started (`standby.signal`), which is the driver's.
"""

from __future__ import annotations

from datetime import timedelta

from evac.core.errors import Indeterminate, Rejected
from evac.drivers.settings import Settings
from evac.ports import Completed, Finding, Place

WITHIN = timedelta(seconds=15)
"""How long one conversation with systemd may take."""
_ENDING_TRIES = 100

_KEEP_DOWN = """unit=$1 how=$2 must=$3; shift 3
"$@" mask "$unit" >/dev/null 2>&1
load=$("$@" show --property=LoadState --value "$unit") || exit 21
if [ "$load" != masked ]; then
  "$@" mask --runtime "$unit" >/dev/null 2>&1
  load=$("$@" show --property=LoadState --value "$unit") || exit 21
fi
if [ "$load" != masked ]; then
  "$@" unmask --runtime "$unit" >/dev/null 2>&1
  [ "$must" = masked ] && { "$@" show --property=FragmentPath --value "$unit"; exit 22; }
  "$@" stop --no-block "$unit" || exit 21
fi
[ "$how" = kill ] && "$@" kill --signal=KILL "$unit" 2>/dev/null
exit 0
"""
_END = """unit=$1 tries=$2; shift 2
"$@" stop --no-block "$unit"
"$@" kill --signal=KILL "$unit" 2>/dev/null
while state=$("$@" show --property=ActiveState --value "$unit"); do
  case $state in inactive|failed) exit 0;; esac
  tries=$((tries - 1)); [ "$tries" -gt 0 ] || { echo "$state"; exit 23; }
  sleep 0.05
done
exit 21
"""
_START = """unit=$1; shift
"$@" unmask "$unit"; "$@" unmask --runtime "$unit"; "$@" reset-failed "$unit" 2>/dev/null
exec "$@" start --no-block "$unit"
"""
_LOOK = """unit=$1; shift
for property in LoadState ActiveState Id FragmentPath; do
  "$@" show --property="$property" --value "$unit" || exit 21
done
"""


class Systemd(Settings):
    """The server is a systemd unit. Fencing masks the unit, so that nothing starts it behind evac's back."""

    unit: str
    """Name of the unit, for instance `postgresql@17-main.service`."""
    prefix: tuple[str, ...] = ()
    """Words put before `systemctl` to get the right to use it, for instance `[sudo, -n]`; default none."""


class Unit:
    """One unit at a place."""

    def __init__(self, settings: Systemd, place: Place) -> None:
        self.name = settings.unit
        self._systemctl = (*settings.prefix, "systemctl")
        self._place = place

    async def keep_down(self, *, clean: bool, must_mask: bool) -> None:
        """Keep systemd from starting it again, and unless it is to end cleanly kill all its processes.

        A unit that cannot be masked is told to stop instead, or with `must_mask` `Rejected`: nothing was stopped.
        """
        done = await self._tell(_KEEP_DOWN, "clean" if clean else "kill", "masked" if must_mask else "")
        match done.code:
            case 0:
                return
            case 22:
                raise Rejected(f"systemd does not mask {self.name}; nothing was stopped; {_remedy(_said(done))}")
            case _:
                raise Rejected(f"systemd does not keep {self.name} down: {_said(done)}; nothing was stopped")

    async def end(self) -> None:
        """See that systemd runs nothing of it any more and is not about to. `Indeterminate` when it does not end."""
        done = await self._tell(_END, str(_ENDING_TRIES))
        if done.code:
            raise Indeterminate(f"systemd does not say that {self.name} has ended: {_said(done)}; look at that host")

    async def start(self) -> None:
        """Let it be started, and start it, without waiting for the end of that. Raises `Rejected` when refused."""
        done = await self._tell(_START)
        if done.code:
            raise Rejected(f"systemd does not start {self.name}: {_said(done)}")

    async def check(self) -> tuple[Finding, ...]:
        """Say whether systemd runs it, and would keep it down."""
        done = await self._tell(_LOOK)
        if done.code:
            what = f"systemd does not answer for {self.name}: {_said(done)}"
            return (Finding(ok=False, what=what, remedy="check the right to use systemctl"),)
        load, active, own_name, file = done.out.decode(errors="replace").splitlines()
        alias = own_name not in (self.name, f"{self.name}.service")
        hidden = file.startswith("/etc/systemd/system/") and load != "masked"
        return (
            Finding(
                ok=active == "active" and load == "loaded",
                what=f"systemd runs {self.name}",
                remedy=f"check the unit's name, and start it ({load}, {active})",
            ),
            Finding(
                ok=not hidden and not alias,
                what=f"systemd can keep {self.name} down by a mask",
                remedy=f"{self.name} is another name of {own_name}: say that one" if alias else _remedy(file),
            ),
        )

    async def _tell(self, script: str, *args: str) -> Completed:
        argv = ("sh", "-c", script, "evac", self.name, *args, *self._systemctl)
        return await self._place.run(argv, timeout=WITHIN)


def _remedy(file: str) -> str:
    return f"a file in /etc/systemd/system hides a mask: move {file} to /usr/local/lib/systemd/system, daemon-reload"


def _said(done: Completed) -> str:
    words = (done.err or done.out).decode(errors="replace").strip().splitlines()
    return words[-1] if words else f"it ended with {done.code}"
