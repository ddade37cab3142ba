"""Where the logs of two members parted, by their histories and by whether what was compared is in both."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evac.drivers.postgresql.fence import Control
from evac.drivers.postgresql.lineage import Parting, Stretch, before, last_of, parting

MB = 1024 * 1024
OWN = Control(
    clean=False, primary=True, position=5 * MB + 40, redo=5 * MB, timeline=2, checkpoint_timeline=2, recovered=0,
    system="7", segment_bytes=MB,
)  # fmt: skip
STANDBY = replace(OWN, primary=False)
Fork = dict[int, int]


@pytest.mark.parametrize(
    ("control", "own", "theirs", "newest", "shared", "parted"),
    [
        (replace(OWN, timeline=1), {}, {}, 1, None, Parting(at=None)),
        (replace(OWN, timeline=1), {}, {1: 40}, 2, None, Parting(at=40)),
        (OWN, {1: 40}, {1: 40, 2: 90}, 3, True, Parting(at=90)),
        (OWN, {1: 40}, {1: 40, 2: 90}, 3, None, Parting(at=90)),
        (OWN, {1: 40}, {1: 40, 2: 90}, 3, False, Parting(at=40, foreign=True)),
        (OWN, {1: 50}, {1: 40, 2: 90}, 3, None, Parting(at=40, foreign=True)),
        (OWN, {1: 40}, {1: 40}, 2, True, Parting(at=None)),
        (OWN, {1: 40}, {1: 40}, 2, False, Parting(at=40, foreign=True)),
        (OWN, {1: 40}, {1: 50}, 2, True, Parting(at=40, foreign=True)),
        (OWN, {}, {1: 50}, 2, False, Parting(at=50, foreign=True)),
        (OWN, {1: 40}, {1: 40}, 2, None, Parting(at=40, foreign=True)),
        (STANDBY, {1: 40}, {1: 40}, 2, None, Parting(at=None)),
        (OWN, {1: 50}, {1: 40}, 3, None, Parting(at=40)),
        (OWN, {1: 40}, {1: 40}, 3, None, Parting(at=40)),
        (OWN, {}, {}, 3, None, None),
        (replace(OWN, timeline=4), {1: 40, 2: 90, 3: 95}, {1: 40, 2: 90}, 3, None, None),
    ],
)
def test_where_two_logs_parted(
    control: Control, own: Fork, theirs: Fork, newest: int, shared: bool | None, parted: Parting | None
) -> None:
    assert parting(control, own=own, theirs=theirs, newest=newest, shared=shared) == parted


def test_what_is_compared_lies_before_the_end_of_the_others_timeline_and_in_one_file() -> None:
    checkpoint = Stretch(timeline=2, start=5 * MB + 40, length=96, segment_bytes=MB)
    assert last_of(OWN, upto=None) == last_of(OWN, upto=6 * MB) == checkpoint
    assert checkpoint.file == "000000020000000000000005"
    assert last_of(OWN, upto=5 * MB + 100) == replace(checkpoint, start=5 * MB + 52, length=48)
    recovering = replace(OWN, timeline=3, recovered=7 * MB)
    assert last_of(recovering, upto=None) == before(7 * MB, timeline=3, segment_bytes=MB)
    assert before(7 * MB, timeline=3, segment_bytes=MB).start == 7 * MB - 48
    assert before(7 * MB + 8, timeline=3, segment_bytes=MB).length == 8
    assert last_of(replace(OWN, position=6 * MB - 16), upto=None).length == 16
