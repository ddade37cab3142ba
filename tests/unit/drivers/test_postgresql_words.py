"""What PostgreSQL's words mean: positions, names of sets, conninfos, control files, decoded rows."""

from __future__ import annotations

import pytest
from pydantic import SecretStr, ValidationError

from evac.core.estate import RegionId
from evac.drivers.postgresql import PostgresqlSettings
from evac.drivers.postgresql.decoding import change, only_evac, transactions
from evac.drivers.postgresql.fence import control_data, log_end
from evac.drivers.postgresql.naming import (
    Waits,
    forks,
    lsn,
    passfile_lines,
    position,
    regions_of,
    slot_name,
    upstream_conninfo,
    upstream_region,
    waits,
)
from evac.drivers.settings import Secret

A, B = RegionId("us-east-1"), RegionId("eu-west-1")


def settings(**given: object) -> PostgresqlSettings:
    needed = {"host": "10.77.1.1", "dbname": "shop", "user": "evac", "data_dir": "/d/data", "bin_dir": "/b"}
    return PostgresqlSettings.parse({**needed, **given})


@pytest.mark.parametrize(("text", "number"), [("0/3000060", 0x3000060), ("1/0", 1 << 32), ("A/FF", (10 << 32) + 255)])
def test_positions_are_read_and_written(text: str, number: int) -> None:
    assert position(text) == number
    assert lsn(number) == text


@pytest.mark.parametrize(
    ("text", "acks", "names"),
    [
        ("", 0, ()),
        ('ANY 1 ("us-west-2", "eu-west-1")', 1, ("us-west-2", "eu-west-1")),
        ("FIRST 2 (a, b, c)", 2, ("a", "b", "c")),
        ("a, b", 1, ("a", "b")),
        ("2 (a, b)", 2, ("a", "b")),
        ('ANY 1 ("odd ""name""")', 1, ('odd "name"',)),
    ],
)
def test_whom_a_primary_waits_for_is_read(text: str, acks: int, names: tuple[str, ...]) -> None:
    assert waits(text) == Waits(acks=acks, names=names)


def test_whom_a_primary_waits_for_is_written_so_that_it_reads_back() -> None:
    wants = Waits(acks=2, names=("us-west-2", 'odd "name"'))
    assert waits(wants.text()) == wants
    assert Waits(acks=0, names=("a",)).text() == ""


def test_members_are_found_by_name_and_by_where_they_are_followed() -> None:
    peers = {A: settings(), B: settings(host="10.77.3.1", name="emea", replication_password={"value": "it's"})}
    assert regions_of(("emea", "nobody", "us-east-1"), peers) == (B, A)
    assert slot_name(A, peers[A]) == "us_east_1"
    followed = upstream_conninfo(A, B, peers)
    assert upstream_region(followed, peers) == B
    assert upstream_region("host=elsewhere port=5432", peers) is None
    assert upstream_region("", peers) is None


def test_a_timeline_history_says_where_each_timeline_was_left() -> None:
    assert forks("1\t0/30000A0\tno recovery target specified\n\n2\t0/4000000\tbecause\n") == {
        1: 0x30000A0,
        2: 0x4000000,
    }


def test_a_control_file_is_read_and_anything_else_is_not() -> None:
    text = """Database system identifier:           7345
Database cluster state:               shut down
Latest checkpoint location:           0/30000A0
Latest checkpoint's REDO location:    0/30000A0
Latest checkpoint's TimeLineID:       3
Minimum recovery ending location:     0/30000F8
Min recovery ending loc's timeline:   4
Bytes per WAL segment:                16777216
"""
    control = control_data(text)
    assert control is not None
    assert (control.clean, control.position, control.timeline) == (True, 0x30000A0, 4)
    assert (control.checkpoint_timeline, control.recovered, control.primary) == (3, 0x30000F8, True)
    assert control.segment(position("2/30000A0")) == "000000040000000200000003"
    assert control_data("pg_controldata: error: could not open file") is None


def test_the_end_of_a_log_is_where_the_last_complaint_is() -> None:
    said = "pg_waldump: error: error in WAL record at 0/3000148: invalid record length at 0/3000180: expected 24, got 0"
    assert log_end(said) == 0x3000180
    assert log_end("") is None


def test_transactions_are_read_from_what_the_slot_tells() -> None:
    decoded = [
        ("0/10", "BEGIN 7"),
        (
            "0/20",
            "table public.orders: INSERT: id[bigint]:5 node[text]:'it''s [a]: b' at[numeric]:null ok[boolean]:true",
        ),
        ("0/30", "COMMIT 7 (at 2026-01-01 00:00:00+00)"),
        ("0/40", "BEGIN 8"),
        ("0/50", "table evac.heartbeat: UPDATE: id[integer]:1"),
        ("0/60", "COMMIT 8 (at 2026-01-01 00:00:01+00)"),
    ]
    first, second = transactions(decoded)
    assert (first.xid, first.end, first.committed_at) == (7, 0x30, "2026-01-01 00:00:00+00")
    assert first.changes[0]["row"] == {"id": "5", "node": "it's [a]: b", "at": None, "ok": "true"}
    assert not only_evac(first)
    assert only_evac(second)


def test_an_update_shows_both_rows_and_what_does_not_read_is_kept() -> None:
    update = change(
        "table public.o: UPDATE: old-key: id[integer]:1 new-tuple: id[integer]:2 \"a b\"[integer[]]:'{1,2}'"
    )
    assert update["old"] == {"id": "1"}
    assert update["row"] == {"id": "2", "a b": "{1,2}"}
    assert change("message: transactional: 1") == {"text": "message: transactional: 1"}
    assert change("table public.o: DELETE: (no-tuple-data)")["text"] == "(no-tuple-data)"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"data_dir": "data"}, "absolute"),
        ({"control": {}}, "exactly one"),
        ({"control": {"pg_ctl": {}, "systemd": {"unit": "x"}}}, "exactly one"),
        ({"frobnicate": 1}, "Extra inputs"),
    ],
)
def test_settings_that_cannot_be_are_refused(given: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        settings(**given)


def test_settings_never_show_the_password() -> None:
    assert "hush" not in repr(settings(password={"value": "hush"}))
    assert "hush" not in repr(Secret(value=SecretStr("hush")))


def test_a_password_that_a_file_names_stands_in_no_setting() -> None:
    peers = {A: settings(), B: settings(host="10.77.3.1", replication_password={"value": "it:s"})}
    followed = upstream_conninfo(A, B, peers, passfile="/srv/evac.pgpass")
    assert "passfile=/srv/evac.pgpass" in followed
    assert "it:s" not in followed
    assert "10.77.3.1:" in passfile_lines(A, peers)
    assert "it\\:s" in passfile_lines(A, peers)
