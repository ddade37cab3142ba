"""What a log means is decided by its order and nothing else, whoever reads it, and from wherever."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evac.core.errors import StoreUnavailable
from evac.stores.logged.ground import Place
from evac.stores.logged.replica import WINDOW, Outcome, Replica, Verdict
from evac.stores.logged.words import Words, pack, read, write


class Writer:
    """Writes commits as one that knows a replica as it is, and appends them."""

    def __init__(self, replica: Replica | None = None) -> None:
        self.replica = replica or Replica()
        self.written = 0

    def words(
        self, *, expect: dict[str, int] | None = None, void: tuple[str, ...] = (), life: int | None = None, **put: str
    ) -> Words:
        self.written += 1
        return Words(
            id=f"{self.written}",
            on=self.replica.digest,
            life=self.replica.born_at if life is None else life,
            void=void,
            expect=expect or {},
            put={key: value.encode() for key, value in put.items()},
        )

    def append(self, words: Words) -> Outcome:
        outcome = self.replica.apply(Place(position=self.replica.count + 1), write(words))
        assert outcome is not None
        return outcome

    def add(self, **put: str) -> Outcome:
        return self.append(replace(self.words(), put={key: value.encode() for key, value in put.items()}))


def test_a_commit_is_read_as_it_was_written() -> None:
    words = Words(
        id="a", on="00", life=3, birth="b", void=("c",), expect={"k": 1}, put={"x": b"", "y": b"\0"}, delete=("z",)
    )
    assert read(write(words)) == words


def test_what_nobody_of_us_wrote_is_passed_over_and_what_a_later_one_wrote_is_not() -> None:
    for strange in (b"", b"anything", pack({"id": "x"}, ()), pack({"id": "x", "put": 3}, ()), write(words())[:-1]):
        replica = Replica()
        assert replica.apply(Place(position=1), strange) is None
        assert (replica.count, replica.revision) == (1, 0)
    replica = Replica()
    with pytest.raises(StoreUnavailable, match="a later evac"):
        replica.apply(Place(position=1), pack({"format": 2}, ()))
    assert replica.count == 0


def words() -> Words:
    return Words(id="a", on="", life=0, put={"k": b"v"})


def test_what_is_there_twice_happens_once() -> None:
    writer = Writer()
    once = writer.words(a="1")
    assert writer.append(once).verdict is Verdict.DONE
    assert writer.append(once).verdict is Verdict.VOID
    assert writer.replica.revision == 1


def test_what_was_given_up_is_void_when_it_comes_after_that_and_done_when_before() -> None:
    writer = Writer()
    before, after = writer.words(a="before"), writer.words(b="after")
    writer.append(before)
    writer.append(writer.words(void=(before.id, after.id), c="next"))
    assert writer.append(after).verdict is Verdict.VOID
    assert {record.key for record in writer.replica.under("")} == {"a", "c"}
    assert (writer.replica.fate(before.id), writer.replica.fate(after.id), writer.replica.fate("?")) == (1, 0, None)


def test_what_is_based_on_another_log_or_on_too_long_ago_is_void() -> None:
    one, other = Writer(), Writer()
    one.add(a="1")
    other.add(a="2")
    assert one.append(other.words(b="2")).verdict is Verdict.VOID
    late, in_time = one.words(late="1"), one.words(in_time="1")
    for _ in range(WINDOW - 1):
        one.add(a="1")
    assert one.append(in_time).verdict is Verdict.DONE
    one.add(a="1")
    one.add(a="1")
    assert one.append(late).verdict is Verdict.VOID


def test_another_birth_voids_what_was_written_before_it() -> None:
    writer = Writer()
    first = Words(id="birth 1", on="", life=0, birth="one")
    assert writer.append(first).verdict is Verdict.DONE
    old = writer.words(a="1")
    again = Words(id="birth 2", on=writer.replica.digest, life=1, birth="two")
    assert writer.append(again).verdict is Verdict.DONE
    assert writer.append(old).verdict is Verdict.OTHER_LIFE
    assert (writer.replica.born, writer.replica.born_at, writer.replica.revision) == ("two", 2, 0)


def test_a_failed_expectation_is_told_and_changes_nothing() -> None:
    writer = Writer()
    writer.add(a="1")
    outcome = writer.append(writer.words(expect={"b": 0, "a": 7}, b="2"))
    assert (outcome.verdict, outcome.why) == (Verdict.CONFLICT, "a is at version 1, 7 was expected")
    assert writer.replica.get("b") is None
    assert outcome.changes == ()


def test_a_snapshot_judges_what_follows_as_the_log_itself_does() -> None:
    writer = Writer()
    writer.append(Words(id="birth", on="", life=0, birth="one"))
    for n in range(WINDOW + 10):
        writer.add(**{f"k{n % 7}": str(n)})
    again, given_up = writer.words(a="1"), writer.words(b="1")
    writer.append(again)
    writer.append(writer.words(void=(given_up.id,), c="1"))
    copied = Replica.from_snapshot(pack(*writer.replica.frozen()))
    assert copied is not None
    assert copied.frozen() == writer.replica.frozen()
    other = Writer(copied)
    for each in (again, given_up, writer.words(expect={"a": 0}, d="1"), writer.words(e="1")):
        assert other.append(each) == writer.append(each)
    assert copied.frozen() == writer.replica.frozen()
    assert Replica.from_snapshot(b"no snapshot") is None


def test_a_log_contradicts_what_was_noted_of_another_and_not_what_was_noted_of_itself() -> None:
    def log(*values: str) -> Writer:
        writer = Writer()
        writer.append(Words(id="birth", on="", life=0, birth="one"))
        for value in values:
            writer.add(a=value)
        return writer

    noted = log("1", "2", "3").replica.noted
    assert log("1", "2").replica.contradicts(noted)
    assert log("1", "2", "other", "4").replica.contradicts(noted)
    assert not log("1", "2", "3").replica.contradicts(noted)
    assert not log("1", "2", "3", "4").replica.contradicts(noted)
    long_after = log("1", "2", "other", *("x" for _ in range(WINDOW)))
    assert not long_after.replica.contradicts(noted), "what is that long ago is not known any more"
    born_anew = log("1")
    born_anew.append(Words(id="again", on=born_anew.replica.digest, life=1, birth="two"))
    assert not born_anew.replica.contradicts(noted), "another life says so itself"
