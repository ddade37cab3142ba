"""Where a ZooKeeper ensemble is and as whom to ask it, in one line of text.

    zookeeper://user@host:port,host:port/namespace?password-file=PATH
    zookeepers://host:port,host:port?ca=PATH&cert=PATH&key=PATH

How such a URL is read, and what it may not hold: `evac.stores.urls`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from evac.stores.urls import ByPassword, Form, need_password, read_url

FORM = Form(scheme="zookeeper", port=2181, files=("password-file",))


@dataclass(frozen=True, slots=True, kw_only=True)
class ZookeeperAddress(ByPassword):
    """An ensemble's servers, and the path under which everything is kept."""

    def __str__(self) -> str:
        return f"ZooKeeper at {', '.join(self.endpoints)}"


def parse_address(text: str, *, namespace: str, folder: Path) -> ZookeeperAddress:
    """Return what a URL says. `namespace` holds if it names none; relative paths start at `folder`.

    Raises `ValueError`, saying what is wrong and how to write it.
    """
    named = read_url(text, FORM, folder=folder)
    need_password(named, FORM)
    if named.user is not None and ":" in named.user:
        raise ValueError("names a user with a colon; ZooKeeper cannot tell such a user from the password")
    found = named.namespace or namespace
    if not all(part and part not in (".", "..", "zookeeper") for part in found.split("/")):
        raise ValueError("names a namespace that is no path in ZooKeeper; write letters, digits and single slashes")
    return ZookeeperAddress.of(named, namespace=found)
