"""Maps that never change, and of which the next one is cheap: a large layer below, and what has changed above it.

Intuition: tens of thousands of cells are known and a few hundred change with each view. A copy of all for each view
would cost what is known, not what was told. So the next map shares the large layer with the one before it, and only
the small one is copied; when that has grown, both become one again. The limit balances the two kinds of copying: of n
known and b changed, a next map costs about the square root of n times b, in copied references.

Whoever reads a map from one end to the other lets its layers become one first: that is seen by nobody, since the map
says the same before and after, and a layer that others share is never written.

What this is not: a persistent tree. Old maps stay right, and each costs what it copied.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from typing import TypeVar, overload

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


class Layered(Mapping[K, V]):
    """A map of two layers; made by `updated`. Its order is that of one dictionary that had been updated."""

    __slots__ = ("_above", "_below")

    def __init__(self, below: dict[K, V], above: dict[K, V]) -> None:
        """Take two layers, which nobody writes from now on."""
        self._below = below
        self._above = above

    def __getitem__(self, key: K) -> V:
        above = self._above
        return above[key] if key in above else self._below[key]

    @overload
    def get(self, key: K, /) -> V | None: ...
    @overload
    def get(self, key: K, /, default: V | T) -> V | T: ...
    def get(self, key: K, /, default: V | T | None = None) -> V | T | None:
        above = self._above
        return above[key] if key in above else self._below.get(key, default)

    def __contains__(self, key: object) -> bool:
        return key in self._above or key in self._below

    def __iter__(self) -> Iterator[K]:
        return iter(self._whole())

    def __len__(self) -> int:
        return len(self._whole())

    def keys(self) -> KeysView[K]:
        return self._whole().keys()

    def values(self) -> ValuesView[V]:
        return self._whole().values()

    def items(self) -> ItemsView[K, V]:
        return self._whole().items()

    def __repr__(self) -> str:
        return repr(self._whole())

    def _whole(self) -> dict[K, V]:
        """Let both layers become one, which is this map's alone."""
        if self._above:
            self._below, self._above = self._below | self._above, {}
        return self._below

    def after(self, changes: dict[K, V]) -> Layered[K, V]:
        """Return the map with these changes; those nobody writes from now on."""
        above = self._above | changes if self._above else changes
        if len(above) ** 2 > 2 * len(self._below) * len(changes):
            return Layered(self._below | above, {})
        return Layered(self._below, above)


def updated(before: Mapping[K, V], changes: dict[K, V]) -> Mapping[K, V]:
    """Return `before` with these changes, which nobody writes from now on. `before` stays what it was."""
    if not changes:
        return before
    layered = before if isinstance(before, Layered) else Layered(dict(before), {})
    return layered.after(changes)
