"""Where an etcd cluster is and as whom to ask it, in one line of text.

    etcd://user@host:port,host:port/namespace?password-file=PATH
    etcds://host:port,host:port?ca=PATH&cert=PATH&key=PATH

How such a URL is read, and what it may not hold: `evac.stores.urls`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from evac.stores.urls import ByPassword, Form, need_password, read_url

FORM = Form(scheme="etcd", port=2379, files=("password-file",))


@dataclass(frozen=True, slots=True, kw_only=True)
class EtcdAddress(ByPassword):
    """A cluster's members, and the prefix under which everything is kept."""

    def __str__(self) -> str:
        return f"etcd at {', '.join(self.endpoints)}"


def parse_address(text: str, *, namespace: str, folder: Path) -> EtcdAddress:
    """Return what a URL says. `namespace` holds if it names none; relative paths start at `folder`.

    Raises `ValueError`, saying what is wrong and how to write it.
    """
    named = read_url(text, FORM, folder=folder)
    need_password(named, FORM)
    return EtcdAddress.of(named, namespace=named.namespace or namespace)
