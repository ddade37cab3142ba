"""Where Consul's agents are and how to be let in, in one line of text.

    consul://host:port,host:port/namespace?token-file=PATH&dc=NAME
    consuls://host:port?token-env=NAME&ca=PATH&cert=PATH&key=PATH

How such a URL is read, and what it may not hold: `evac.stores.urls`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from evac.stores.urls import Form, Tls, read_url

FORM = Form(scheme="consul", port=8500, files=("token-file",), words=("token-env", "dc"))
_KEY = re.compile(r"[A-Za-z0-9,_-][A-Za-z0-9,._-]*(/[A-Za-z0-9,_-][A-Za-z0-9,._-]*)*")
"""What Consul takes for a key everywhere; newer ones refuse all else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsulAddress:
    """Agents of one datacenter as `host:port`, the nearest first, and the prefix under which everything is kept.

    The token is what `token_file` holds, or the environment's variable `token_env`; without both there is none.
    """

    endpoints: tuple[str, ...]
    namespace: str
    datacenter: str | None = None
    token_file: Path | None = None
    token_env: str | None = None
    tls: Tls | None = None

    def __str__(self) -> str:
        return f"Consul at {', '.join(self.endpoints)}"

    @property
    def has_token(self) -> bool:
        """Whether a token is named."""
        return self.token_file is not None or self.token_env is not None


def parse_address(text: str, *, namespace: str, folder: Path) -> ConsulAddress:
    """Return what a URL says. `namespace` holds if it names none; relative paths start at `folder`.

    Raises `ValueError`, saying what is wrong and how to write it.
    """
    named = read_url(text, FORM, folder=folder)
    if named.user is not None:
        raise ValueError("names a user; Consul lets in by token: ?token-file=PATH, or ?token-env=NAME")
    if "token-file" in named.files and "token-env" in named.words:
        raise ValueError("names token-file and token-env; write one of them")
    found = named.namespace or namespace
    if not _KEY.fullmatch(found):
        raise ValueError("names a namespace that Consul refuses; write letters, digits, and , . _ - between slashes")
    return ConsulAddress(
        endpoints=named.endpoints,
        namespace=found,
        datacenter=named.words.get("dc"),
        token_file=named.files.get("token-file"),
        token_env=named.words.get("token-env"),
        tls=named.tls,
    )
