"""Claims about outlines, in plain arrays."""

import numpy as np
import pytest
import shapely
from hypothesis import assume, given
from hypothesis import strategies as st
from shapely import Polygon, box

from carbonmap import outlines as outlines_
from carbonmap.config import crs_text
from carbonmap.errors import LabelError
from carbonmap.findings import Kind
from carbonmap.inventory import unique_ids
from carbonmap.outlines import (
    Overlaps,
    check_outlines,
    check_repeated,
    counted_twice,
    find_overlaps,
    placed,
    reprojected,
)

ALBERS = crs_text("china-albers")

corner = st.integers(0, 12)
boxes = st.lists(st.tuples(corner, corner, st.integers(1, 5), st.integers(1, 5)), max_size=12)


def findings(count):
    return unique_ids(None, count)[1]


def drawn(places):
    return np.array([box(x, y, x + w, y + h) for x, y, w, h in places], dtype=object)


@given(boxes)
def test_overlaps_are_those_that_trying_every_pair_finds(places):
    shapes = drawn(places)
    want = {}
    for i, (x, y, w, h) in enumerate(places):
        for j, (u, v, p, q) in enumerate(places[:i]):
            wide = min(x + w, u + p) - max(x, u)
            high = min(y + h, v + q) - max(y, v)
            if wide > 0 and high > 0:
                want[j, i] = wide * high
    found = find_overlaps(shapes)
    got = {(i, j): a for i, j, a in zip(found.first, found.second, found.area, strict=True)}
    assert got == pytest.approx(want)


@given(boxes, st.integers(1, 5))
def test_overlaps_do_not_depend_on_the_chunk(places, chunk):
    whole = find_overlaps(drawn(places))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(outlines_, "CHUNK", chunk)
        patch.setattr(outlines_, "DETAILED", 0)
        parts = find_overlaps(drawn(places))
    assert {*zip(whole.first, whole.second, whole.area, strict=True)} == {
        *zip(parts.first, parts.second, parts.area, strict=True)
    }


def test_a_file_of_several_inventories_is_refused(monkeypatch):
    monkeypatch.setattr(outlines_, "MAX_OVERLAPS", 20)
    shapes = drawn([(0, 0, 5 + i, 5) for i in range(8)])
    with pytest.raises(LabelError, match="several inventories"):
        find_overlaps(shapes)


def test_missing_outlines_overlap_nothing():
    found = find_overlaps(np.array([None, box(0, 0, 1, 1), None], dtype=object))
    assert found.first.size == 0


@given(boxes, st.data())
def test_repeated_outlines_are_found_wherever_their_rings_begin(places, data):
    shapes = drawn([*places, *places])
    turn = data.draw(st.integers(0, 3))
    for i in range(len(places), len(shapes)):
        ring = np.roll(np.array(shapes[i].exterior.coords)[:-1], turn, axis=0)
        shapes[i] = Polygon(ring[::-1])
    found = findings(len(shapes))
    check_repeated(shapes, np.zeros(len(shapes)), found)
    seen, want = set(), []
    for place in [*places, *places]:
        want.append(place in seen)
        seen.add(place)
    assert found.dropped.tolist() == want


def test_outlines_of_one_box_and_area_need_not_be_repeated():
    shapes = np.array(
        [Polygon([(0, 0), (2, 0), (2, 2)]), Polygon([(0, 0), (2, 2), (0, 2)])], dtype=object
    )
    found = findings(2)
    check_repeated(shapes, np.zeros(2), found)
    assert found.problems == []


def test_the_area_of_repaired_outlines_is_told():
    tie = Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    found = findings(2)
    good = check_outlines(np.array([tie, box(5, 5, 6, 6)], dtype=object), found)
    assert shapely.area(good).tolist() == [2.0, 1.0]
    (problem,) = found.problems
    assert (problem.kind, problem.ids) == (Kind.INVALID_OUTLINE, ("row 1",))


def test_an_outline_in_its_own_crs_is_left_alone():
    shapes = np.array([box(0, 0, 1e5, 1e5)], dtype=object)
    assert reprojected(shapes, "EPSG:32648", "EPSG:32648") is shapes


def touching(x, y, size):
    """A square with a hole whose tip touches the middle of an edge: valid, and only just."""
    hole = [(0.5, 0), (0.7, 0.4), (0.3, 0.4)]
    rings = [[(0, 0), (1, 0), (1, 1), (0, 1)], hole]
    shell, inner = ([(x + size * u, y + size * v) for u, v in ring] for ring in rings)
    return Polygon(shell, [inner])


@given(st.floats(98, 106), st.floats(21, 29), st.floats(1e-3, 9e-3))
def test_what_reprojection_breaks_is_valid_again_and_keeps_its_area(x, y, size):
    shapes = np.array([touching(x, y, size), box(x, y, x + size, y + size), None], dtype=object)
    assume(shapely.is_valid(shapes[0]))
    found = findings(3)
    moved = placed(shapes, "EPSG:4490", ALBERS, found)
    assert shapely.is_valid(moved).tolist() == [True, True, False]
    assert shapely.get_type_id(moved).tolist() == [3, 3, -1]
    raw = reprojected(shapes, "EPSG:4490", ALBERS)
    assert shapely.area(moved[:2]) == pytest.approx(shapely.area(raw[:2]), rel=1e-9)
    told = [i for p in found.problems for i in p.ids]
    assert told == ([] if shapely.is_valid(raw[0]) else ["row 1"])


def test_an_outline_is_told_to_be_mended_once():
    shapes = np.array([touching(103.5, 26.4, 0.005)], dtype=object)
    found = findings(1)
    for crs in (ALBERS, "EPSG:32648", ALBERS):
        assert shapely.is_valid(placed(shapes, "EPSG:4490", crs, found)).all()
    (problem,) = found.problems
    assert (problem.kind, problem.repairable) == (Kind.INVALID_OUTLINE, True)


def test_what_a_crs_cannot_show_is_refused_by_name():
    shapes = np.array([box(103, 26, 104, 27), box(103, 95, 104, 96)], dtype=object)
    found = findings(2)
    moved = placed(shapes, "EPSG:4326", "EPSG:32648", found)
    assert moved[1] is None
    (problem,) = found.problems
    assert (problem.kind, problem.ids) == (Kind.BROKEN_COORDINATES, ("row 2",))
    assert found.dropped.tolist() == [False, True]


def test_a_missing_outline_stays_missing_in_another_crs():
    shapes = np.array([None, box(5e5, 3e6, 5.1e5, 3.1e6)], dtype=object)
    moved = reprojected(shapes, "EPSG:32648", "EPSG:4326")
    assert moved[0] is None
    assert shapely.get_num_coordinates(moved[1]) > 200


def test_the_carbon_counted_twice_lies_between_both_stands_densities():
    overlaps = Overlaps(np.array([0, 1]), np.array([1, 2]), np.array([2.0, 3.0]))
    assert counted_twice(overlaps, np.array([10.0, 30.0, np.nan])) == (20.0, 60.0 + 90.0)
    none = Overlaps(*(np.empty(0, dtype=int) for _ in range(2)), np.empty(0))
    assert counted_twice(none, np.array([10.0])) == (0.0, 0.0)
