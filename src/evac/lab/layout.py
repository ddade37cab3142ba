"""What a lab consists of: sites, addresses, ports, round trips, and where everything lies in its folder.

Read once from a YAML file (`estates/shop.yaml` is the shipped one), then a value that everything else is given.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from importlib import resources
from pathlib import Path
from typing import Literal
from urllib.parse import urlencode

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from evac.core.errors import EstateError
from evac.core.estate import RegionRole
from evac.drivers.settings import Duration, Settings, format_duration
from evac.lab.wan.links import Direction, Link, base

SSH_PORT = 2222
POSTGRESQL_PORT = 5432
VALKEY_PORT = 6379
PUBLIC_PORT = 8080
RUNTIME_PORT = 9999
DNS_PORT = 5353
SHOP_PORT = 8000
ETCD_PORT = 2379
ETCD_PEER_PORT = 2380
STORE_USER = "evac"
"""As whom everybody asks the store; who asks is known by the certificate."""
OPERATOR = "operator"
"""The certificate of commands that are typed, in whichever region."""

Mode = Literal["sync", "async"]
Form = Literal["embedded", "distributed"]


class RegionSpec(Settings):
    """A site with servers."""

    number: int
    """Third byte of its address."""
    provider: str
    location: tuple[float, float]
    jurisdiction: str
    role: RegionRole
    requests_per_second: float = 500


class LabSpec(Settings):
    """A lab's file."""

    name: str
    estate: str
    """The template of the estate, beside this file."""
    home: str
    """The region whose servers are primaries at first."""
    regions: dict[str, RegionSpec]
    sites: dict[str, int]
    """Sites without servers, by number."""
    round_trips: dict[str, dict[str, Duration]]
    jitter: Duration
    pause: Duration = timedelta(seconds=1)
    """Longest pause of a whole machine that the lease of an asynchronous primary covers."""
    seed: int = 1
    """Of the WAN's losses and jitter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One lab: its specification, its folder (absolute), and how its state is replicated."""

    spec: LabSpec
    folder: Path
    template: Path
    mode: Mode
    form: Form = "embedded"
    """Whether evac runs in every region, on etcd, or is started by whoever uses the lab."""

    @property
    def numbers(self) -> dict[str, int]:
        """Every site's number."""
        return {name: region.number for name, region in self.spec.regions.items()} | self.spec.sites

    @property
    def regions(self) -> tuple[str, ...]:
        """The regions, the home first."""
        return (self.spec.home, *(r for r in self.spec.regions if r != self.spec.home))

    def address(self, site: str) -> str:
        """Return a site's only address."""
        return f"10.77.{self.numbers[site]}.1"

    def links(self) -> dict[Direction, Link]:
        """Return the network of a day on which all is well."""
        trips = {(a, b): t.total_seconds() for a, others in self.spec.round_trips.items() for b, t in others.items()}
        return base(trips, sites=self.numbers, jitter_s=self.spec.jitter.total_seconds())

    def region_folder(self, region: str) -> Path:
        """Return where a region's servers keep their files."""
        return self.folder / region

    def store(self, *, nearest: str | None = None) -> str | None:
        """Return the URL of the store that the regions share, None in the embedded form.

        For the agent of the region `nearest`: that region's member first, and the agent's own certificate. For all else
        the operator's.
        """
        if self.form == "embedded":
            return None
        shown = f"agent-{nearest}" if nearest else OPERATOR
        files = {
            "password-file": self.secrets / "etcd",
            "ca": self.certificates / "ca.pem",
            "cert": self.certificates / f"{shown}.pem",
            "key": self.certificates / f"{shown}.key",
        }
        members = ",".join(self.store_members(nearest=nearest))
        return f"etcds://{STORE_USER}@{members}?{urlencode(files, safe='/')}"

    def store_members(self, *, nearest: str | None = None) -> tuple[str, ...]:
        """Return where the members of that store answer, one region's first."""
        regions = sorted(self.regions, key=lambda region: region != nearest)
        return tuple(f"{self.address(region)}:{ETCD_PORT}" for region in regions)

    @property
    def control(self) -> Path:
        """The supervisor's socket."""
        return self.folder / "control.sock"

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    @property
    def certificates(self) -> Path:
        """The lab's authority, and what the store's members and those who ask them show each other."""
        return self.keys / "store"

    @property
    def secrets(self) -> Path:
        return self.folder / "secrets"


def load(*, folder: Path, file: Path | None = None, mode: Mode = "sync", form: Form = "embedded") -> Layout:
    """Return the layout that a lab's file (default: the shipped `shop`) describes. Raises `EstateError`."""
    path = file or Path(str(resources.files("evac.lab"))) / "estates" / "shop.yaml"
    try:
        spec = LabSpec.parse(YAML(typ="safe").load(path.read_text()))
    except (OSError, YAMLError) as error:
        raise EstateError((f"{path}: {error}",)) from error
    except ValidationError as error:
        wrong = tuple(f"{path}: {'.'.join(str(p) for p in e['loc'])}: {e['msg']}" for e in error.errors())
        raise EstateError(wrong) from error
    problems = _problems(spec)
    if problems:
        raise EstateError(tuple(f"{path}: {problem}" for problem in problems))
    return Layout(spec=spec, folder=folder.resolve(), template=path.parent / spec.estate, mode=mode, form=form)


def covering(pause: timedelta, *, folder: Path) -> Path:
    """Write a lab's file that is the shipped one, but for the pause that leases cover; return its path."""
    shipped = Path(str(resources.files("evac.lab"))) / "estates" / "shop.yaml"
    yaml = YAML(typ="safe")
    spec = yaml.load(shipped.read_text())
    spec |= {"pause": format_duration(pause), "estate": str(shipped.parent / spec["estate"])}
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"covers-{format_duration(pause)}.yaml"
    yaml.dump(spec, file)
    return file


def _problems(spec: LabSpec) -> list[str]:
    """Return what a schema cannot say: names that do not resolve, round trips that are missing."""
    names = [*spec.regions, *spec.sites]
    numbers = [r.number for r in spec.regions.values()] + list(spec.sites.values())
    problems = []
    if spec.home not in spec.regions:
        problems.append(f"home: {spec.home} is not a region; one of {', '.join(spec.regions)} is meant")
    if len(set(names)) != len(names) or len(set(numbers)) != len(numbers):
        problems.append("sites: two sites share a name or a number")
    if not all(1 <= number <= 254 for number in numbers):
        problems.append("sites: a number is a byte of an address, 1 to 254")
    given = {frozenset((a, b)) for a, others in spec.round_trips.items() for b in others}
    for at, one in enumerate(names):
        missing = [other for other in names[at + 1 :] if frozenset((one, other)) not in given]
        problems += [f"round_trips: {one} to {other} is missing" for other in missing]
    return problems
