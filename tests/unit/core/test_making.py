"""Values that are made quickly are those that their class makes."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, dataclass, replace
from typing import Any

import pytest

from evac.core.making import maker


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    what: str
    count: int = 3


make = maker(Answer)


def test_what_is_made_is_what_the_class_makes() -> None:
    made = make(what="yes", count=2)
    assert type(made) is Answer
    assert made == Answer(what="yes", count=2)
    assert hash(made) == hash(Answer(what="yes", count=2))
    assert repr(made) == repr(Answer(what="yes", count=2))
    assert replace(made, count=3) == make(what="yes")
    assert copy.deepcopy(made) == pickle.loads(pickle.dumps(made)) == made


def test_what_is_made_is_frozen() -> None:
    made: Any = make(what="yes")
    with pytest.raises(FrozenInstanceError):
        made.count = 4


def test_every_field_without_a_default_must_be_given_and_no_other() -> None:
    anything: Any = make
    with pytest.raises(TypeError):
        anything(count=1)
    with pytest.raises(TypeError):
        anything(what="yes", more=1)


def test_where_a_twin_is_no_quicker_the_class_itself_makes_them() -> None:
    assert maker(Answer, by_twin=False) is Answer
