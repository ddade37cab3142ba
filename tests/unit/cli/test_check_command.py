"""What `evac check` says of a fault: once, where it is, with what helps against it and not with what does not."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path

import pytest

from fakes.commands import evac

STARTER = (resources.files("evac.config") / "estates" / "starter.yaml").read_text()


def estate(folder: Path, text: str) -> Path:
    file = folder / "estate.yaml"
    file.write_text(text)
    return file


def test_what_is_behind_a_host_that_cannot_be_reached_is_not_asked(tmp_path: Path) -> None:
    """The key is not there, so no host is asked for anything."""
    file = estate(tmp_path, STARTER)
    said = evac("check", "--estate", file).stdout
    keys = tmp_path / "keys"
    by_hand = f"ssh -p 22 -i {keys / 'evac'} -o UserKnownHostsFile={keys / 'known_hosts'} evac@192.0.2.10 true"
    assert f"FAIL  berlin: evac@192.0.2.10:22 cannot be reached: {keys / 'evac'}: No such file" in said
    assert by_hand in said
    assert "goes on" not in said
    for what in ("orders-db in berlin", "shop-lb in berlin", "probe sql of orders in berlin"):
        assert f"skip  {what}: not asked: berlin cannot be reached\n" in said
    assert "do: " not in said
    assert said.endswith("16 checks, 3 failed, 12 not asked\n")
    found = json.loads(evac("check", "--estate", file, "--json").stdout)
    assert {f["ok"] for f in found if f["what"].startswith("not asked")} == {False}


@pytest.mark.parametrize("secret", ["{file: secrets/none}", "{env: EVAC_TEST_HAS_NO_SUCH_SECRET}"])
def test_a_secret_that_is_missing_has_its_own_remedy_alone(secret: str, tmp_path: Path) -> None:
    here = re.sub(r" +place: .*\n", "", STARTER).replace("{file: secrets/postgresql}", secret)
    for last, host in enumerate(("192.0.2.10", "198.51.100.10", "203.0.113.10"), start=2):
        here = here.replace(host, f"127.0.0.{last}")
    file = estate(tmp_path, here)
    lines = evac("check", "--estate", file).stdout.splitlines()
    missing = [n for n, line in enumerate(lines) if "no secret: " in line]
    assert len(missing) == 6
    assert [lines[n + 1] for n in missing if lines[n + 1].lstrip().startswith("do:")] == []
