"""Several clients' folders are judged together, each store by itself."""

from __future__ import annotations

from pathlib import Path

from evac.lab import history
from evac.lab.checker import Orphans
from evac.lab.clients.record import HISTORY
from evac.lab.history import Ending, Owner
from evac.lab.judge import judge, orphaned_orders


def _record(folder: Path, id: str, *, at: float, owner: Owner, store: str = "orders") -> Path:
    folder.mkdir(exist_ok=True)
    with (folder / HISTORY).open("a") as lines:
        lines.write(history.invocation(id=id, client="c", store=store, via="web", at=at) + "\n")
        lines.write(history.ending(id=id, at=at + 0.1, how=Ending.OK, owner=owner) + "\n")
    return folder


def test_clients_on_both_sides_of_a_cut_show_two_owners(tmp_path: Path) -> None:
    outside = _record(tmp_path / "outside", "a.c.1", at=10.0, owner=Owner(node="us-west-2", term=2))
    inside = _record(tmp_path / "inside", "b.c.1", at=12.0, owner=Owner(node="us-east-1", term=1))

    verdict = judge([outside, inside], rows={"orders": ["a.c.1"]}, orphans=["b.c.1"])["orders"]

    assert [found.write for found in verdict.two_owners] == ["b.c.1"]
    assert verdict.lost == ("b.c.1",)
    assert verdict.orphans == Orphans()


def test_stores_are_judged_each_by_itself(tmp_path: Path) -> None:
    _record(tmp_path / "c", "a.c.1", at=1.0, owner=Owner(node="us-east-1", term=1))
    folder = _record(tmp_path / "c", "a.v.1", at=1.0, owner=Owner(node="us-east-1", term="x"), store="carts")

    verdicts = judge([folder], rows={"orders": ["a.c.1"], "carts": []})

    assert verdicts["orders"].kept
    assert verdicts["carts"].lost == ("a.v.1",)


def test_orphan_file_names_orders_among_other_rows(tmp_path: Path) -> None:
    file = tmp_path / "orphans.jsonl"
    file.write_text(
        '{"xid": 7, "changes": [{"schema": "public", "table": "ledger", "op": "INSERT", "row": {"id": "a.c.1"}}]}\n'
        '{"xid": 8, "changes": [{"schema": "public", "table": "canary", "op": "UPDATE", "row": {"region": "x"}}]}\n'
    )

    assert orphaned_orders(file) == ("a.c.1",)


def test_a_copy_of_a_whole_cache_has_no_orders(tmp_path: Path) -> None:
    copy = tmp_path / "evac-orphans-term-3.rdb"
    copy.write_bytes(b"VALKEY080\xfa\x00")

    assert orphaned_orders(copy) == ()
