"""How old a record can be at most, by one process's own commits."""

from __future__ import annotations

from datetime import timedelta

from evac.engine.recency import KEPT, Recency


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def test_a_record_is_no_older_than_the_latest_commit_before_it() -> None:
    recency = Recency()
    for at, revision in ((1, 10), (2, 20), (3, 30)):
        recency.committed(sent=seconds(at), revision=revision)
    assert recency.age_max(25, now=seconds(5)) == seconds(3)
    assert recency.age_max(31, now=seconds(5)) == seconds(2)


def test_a_commit_of_the_same_revision_or_a_later_one_says_nothing() -> None:
    recency = Recency()
    recency.committed(sent=seconds(1), revision=10)
    assert recency.age_max(10, now=seconds(5)) is None
    assert recency.age_max(9, now=seconds(5)) is None
    assert Recency().age_max(10, now=seconds(5)) is None


def test_only_the_latest_commits_are_kept() -> None:
    recency = Recency()
    for number in range(KEPT + 1):
        recency.committed(sent=seconds(number), revision=number)
    assert recency.age_max(1, now=seconds(KEPT)) is None
    assert recency.age_max(2, now=seconds(KEPT)) == seconds(KEPT - 1)
