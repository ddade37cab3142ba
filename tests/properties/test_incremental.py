"""What is carried on from step to step says the same as what is worked out from the whole."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from evac.core.assessment import assess
from evac.core.detector import Again, Cell, Detector, fold, go_on
from evac.core.ease import at_ease, stirs
from evac.core.estate import ComponentId, RegionId
from evac.core.layered import Layered, updated
from evac.core.observation import Heartbeat, MemberRole, MemberSeen, MemberState, Observation, Probed
from evac.core.policy import Detection
from evac.core.sights import Line, Sights
from evac.sim.estates import CARTS, CARTS_CACHE, EAST, EUROPE, FIVE, ORDERS, ORDERS_DB, THREE, WEST, shop
from fakes.estates import member, probed, seconds, watched

properties = settings(deadline=None, max_examples=100)

REGIONS = st.sampled_from(FIVE)
TIMES = st.integers(0, 20)
COMPONENTS = st.sampled_from((ComponentId("orders-db"), ComponentId("carts-cache")))
STATES = st.none() | st.builds(
    MemberState,
    role=st.sampled_from(MemberRole),
    writable=st.booleans(),
    timeline=st.none() | st.integers(1, 3),
    upstream=st.none() | REGIONS,
    streaming=st.booleans(),
)
LOOKS = st.builds(probed, TIMES, REGIONS, REGIONS, st.sampled_from((ORDERS, CARTS)), ok=st.booleans())
ESTATE = shop()
SOON = st.floats(4.0, 5.5)
LATER = st.one_of(
    st.builds(lambda at, region: Heartbeat(at=seconds(at), region=region), SOON, st.sampled_from(THREE)),
    st.builds(MemberSeen, at=SOON.map(seconds), component=COMPONENTS, region=st.sampled_from(THREE), state=STATES),
    st.builds(
        probed, SOON, st.sampled_from((WEST, EUROPE)), st.just(EAST), st.just(ORDERS), ok=st.booleans(), took=st.just(0)
    ),
)
"""What may be seen of the shop in the moments after it was `watched`."""
OBSERVATIONS = st.one_of(
    st.builds(Heartbeat, at=TIMES.map(seconds), region=REGIONS),
    st.builds(MemberSeen, at=TIMES.map(seconds), component=COMPONENTS, region=REGIONS, state=STATES),
    LOOKS,
)


def newest(detector: Detector, component: ComponentId) -> int:
    """The newest timeline of a component's primaries, from all that is known."""
    states = [seen.state for (c, _), seen in detector.members.items() if c == component]
    return max((s.timeline or 0 for s in states if s and s.role is MemberRole.PRIMARY), default=0)


@properties
@given(st.lists(st.lists(OBSERVATIONS, max_size=8), max_size=12))
def test_batches_fold_to_what_single_observations_do(batches: list[list[Observation]]) -> None:
    by_batch = by_one = Detector(policy=Detection())
    for batch in batches:
        by_batch = fold(by_batch, *batch)
        for seen in batch:
            by_one = fold(by_one, seen)
    assert by_batch == by_one == fold(Detector(policy=Detection()), *(seen for batch in batches for seen in batch))
    assert list(by_batch.cells) == list(by_one.cells)
    assert list(by_batch.members) == list(by_one.members)


@properties
@given(st.lists(OBSERVATIONS, max_size=40))
def test_a_stream_is_behind_by_the_newest_timeline_of_all_members(seen: list[Observation]) -> None:
    detector = Detector(policy=Detection())
    for one in seen:
        before = detector
        detector = fold(before, one)
        if isinstance(one, MemberSeen) and detector.members[one.component, one.region] is one:
            timeline = one.state.timeline if one.state else None
            behind = timeline is not None and timeline < newest(detector, one.component)
            assert detector.streams[one.component, one.region].behind is behind
    hosts = {(c, r) for c, regions in detector.hosts.items() for r in regions}
    assert hosts == set(detector.members)


@properties
@given(st.lists(st.tuples(st.dictionaries(st.integers(0, 60), st.integers(), max_size=10), st.booleans()), max_size=30))
def test_a_layered_map_is_a_dictionary_that_was_updated(story: list[tuple[dict[int, int], bool]]) -> None:
    whole: dict[int, int] = {-1: 0}
    layered = updated(whole, {0: 0})
    whole = whole | {0: 0}
    past: list[tuple[dict[int, int], object]] = []
    for changes, read in story:
        layered, whole = updated(layered, changes), whole | changes
        past.append((whole, layered))
        assert [layered.get(k) for k in range(-2, 62)] == [whole.get(k) for k in range(-2, 62)]
        assert [k in layered for k in range(-2, 62)] == [k in whole for k in range(-2, 62)]
        assert all(layered[k] == v for k, v in whole.items())
        if read:
            assert list(layered.items()) == list(whole.items())
    for then, kept in past:
        assert isinstance(kept, Layered)
        assert list(kept) == list(kept.keys()) == list(then)
        assert list(kept.values()) == list(then.values())
        assert (len(kept), repr(kept), kept.get(-9, "none")) == (len(then), repr(then), "none")


@properties
@given(
    st.lists(LOOKS, max_size=40),
    st.lists(st.integers(15, 40), min_size=1, max_size=9, unique=True).map(sorted),
    st.dictionaries(REGIONS, st.booleans()),
)
def test_looks_that_find_the_same_go_on_as_if_each_was_folded(
    seen: list[Observation], at: list[int], found: dict[RegionId, bool]
) -> None:
    """By the region looked at: whether it is well, or nobody looks."""

    def finding(line: Line, cell: Cell) -> Again | None:
        return Again(found[line.region], cell.took, "as said") if line.region in found else None

    detector = fold(Detector(policy=Detection()), *seen)
    looks = (
        Probed(
            at=seconds(moment),
            vantage=sight.vantage,
            service=sight.service,
            region=sight.region,
            ok=found[sight.region],
            took=cell.took,
            reason="as said",
        )
        for moment in at
        for sight, cell in detector.cells.items()
        if sight.region in found
    )
    moments, lines = tuple(map(seconds, at)), detector.cells.lines().items()
    gone_on = Sights(
        {line: go_on(line, known, finding=finding, at=moments, policy=detector.policy) for line, known in lines}
    )
    assert list(gone_on.items()) == list(fold(detector, *looks).cells.items())


@properties
@given(st.lists(LATER, max_size=30))
def test_what_stirs_nothing_takes_nobodys_ease(seen: list[Observation]) -> None:
    detector, now = watched(ESTATE)
    for component in ORDERS_DB, CARTS_CACHE:
        detector = fold(detector, *(member(component, r, primary=EAST, at=now) for r in ESTATE.regions))
    said = sorted((each for each in seen if not stirs(detector, each)), key=lambda each: each.at)
    assert at_ease(assess(fold(detector, *said), now=seconds(now + 1.5), estate=ESTATE), ())
