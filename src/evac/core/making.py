"""Frozen values made quickly, where many are made: every answer of every probe becomes a few.

Intuition: a frozen dataclass sets its fields around its own lock, one `object.__setattr__` each, which is most of the
price of a small value. A twin with the same slots and no lock is filled by plain assignments and then turned into the
frozen class; the value is the same, and made in a quarter of the time.

What this is not: a way around the lock. Whoever has the value cannot change it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


BY_TWIN = sys.implementation.name == "cpython"
"""Whether a twin is quicker. PyPy's compiler sees through the lock, and not through a value that changes its class."""


def maker(frozen: Callable[P, T], *, by_twin: bool = BY_TWIN) -> Callable[P, T]:
    """Return what makes values of a frozen, slotted dataclass as the class itself does, given every field by name.

    Fields with a plain default may be left out; one with a factory has to be given.
    """
    assert isinstance(frozen, type), "only a class has fields"
    assert not hasattr(frozen, "__post_init__"), f"{frozen.__name__} has more to do than to set its fields"
    if not by_twin:
        return frozen
    names = [field.name for field in fields(frozen)]
    defaults = {f.name: f.default for f in fields(frozen) if f.default is not MISSING}
    twin = type(f"{frozen.__name__}Twin", (), {"__slots__": tuple(names)})
    given = ", ".join(f"{name}=default_{name}" if name in defaults else name for name in names)
    lines = [
        f"def make(*, {given}):",
        "    made = new(twin)",
        *(f"    made.{name} = {name}" for name in names),
        "    made.__class__ = frozen",
        "    return made",
    ]
    known: dict[str, Any] = {f"default_{name}": value for name, value in defaults.items()}
    known |= {"new": object.__new__, "twin": twin, "frozen": frozen}
    exec("\n".join(lines), known)  # as dataclasses makes `__init__`: names of fields, and nothing from outside
    make: Callable[P, T] = known["make"]
    return make
