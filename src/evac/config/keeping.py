"""Where an estate's store is, as its file or the command line names it.

What this is not: opening it (`daemon`), or a look whether it is there (`evac check`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from evac.config.scene import Found, Rule, Scene
from evac.core.errors import OptionError
from evac.stores.opening import StoreAddress, parse_address


def store_address(text: str | None, *, estate: str, folder: Path) -> StoreAddress | None:
    """Return what a store's URL says; None is the file in the state folder. Raises `ValueError`.

    Everything is kept under the estate's name unless the URL says otherwise, so estates may share a cluster.
    """
    return None if text is None else parse_address(text, namespace=f"evac/{estate}", folder=folder)


def store_of_command_line(text: str, *, estate: str) -> StoreAddress | None:
    """Return what `--store` says, with paths that start at the working folder. Raises `OptionError`."""
    try:
        return store_address(text, estate=estate, folder=Path.cwd())
    except ValueError as error:
        raise OptionError((f"--store: {error}",)) from None


def stores_can_be_read(scene: Scene) -> Iterator[Found]:
    """The store's URL is one."""
    try:
        store_address(scene.file.store, estate=scene.file.name, folder=Path())
    except ValueError as error:
        yield Found(path=("store",), reason=str(error))


KEEPING: tuple[Rule, ...] = (stores_can_be_read,)
