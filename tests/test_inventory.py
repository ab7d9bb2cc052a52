"""Claims about an inventory's numbers and ids, in plain arrays."""

import datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonmap.errors import LabelError
from carbonmap.findings import Findings, Kind
from carbonmap.inventory import (
    as_numbers,
    check_areas,
    check_volumes,
    id_text,
    unique_ids,
)

names = st.sampled_from(["a", "a#2", "a#3", "b", " a", "", None, 7, 7.0, float("nan")])


@given(st.lists(names))
def test_every_stand_gets_an_id_of_its_own(values):
    ids, found = unique_ids(values, len(values))
    assert len(set(ids)) == len(values)
    given = [id_text(v) for v in values]
    for value in set(given) - {""}:
        assert ids[given.index(value)] == value
    doubled = {v for v in given if v and given.count(v) > 1}
    told = [p for p in found.problems if p.kind == Kind.DUPLICATED_ID]
    assert bool(told) == bool(doubled)
    if told:
        assert len(told[0].ids) == sum(given.count(v) for v in doubled)


@pytest.mark.parametrize("value", ["376", 376, 376.0, " 376 ", np.int64(376), np.float64(376)])
def test_an_id_is_one_text_whatever_its_type(value):
    assert id_text(value) == "376"


@given(st.lists(st.floats(allow_nan=False) | st.none() | st.integers(-5, 5)))
def test_numbers_survive_being_stored_as_text(values):
    text = np.array([None if v is None else repr(v) for v in values], dtype=object)
    number, unreadable, converted = as_numbers(text)
    want = np.array([np.nan if v is None else float(v) for v in values])
    np.testing.assert_array_equal(number, want)
    assert not unreadable.any()
    assert converted.tolist() == [v is not None for v in values]


def test_words_are_no_numbers_and_blanks_are_missing_ones():
    column = np.array(["无", "1,5", "", "  ", 3, None], dtype=object)
    number, unreadable, converted = as_numbers(column)
    np.testing.assert_array_equal(number, [np.nan] * 4 + [3, np.nan])
    assert unreadable.tolist() == [True, True, False, False, False, False]
    assert not converted.any()


def test_only_numbers_and_their_texts_are_numbers():
    day = datetime.date(2020, 1, 2)
    column = np.empty(8, dtype=object)
    column[:] = [day, True, b"12", {"a": 1}, Decimal("1.5"), 2, np.float32(3), None]
    number, unreadable, converted = as_numbers(column)
    np.testing.assert_array_equal(number, [np.nan] * 4 + [1.5, 2, 3, np.nan])
    assert unreadable.tolist() == [True] * 4 + [False] * 4
    assert not converted.any()


def test_dates_and_lists_are_refused_as_volumes_and_passed_over_as_areas():
    column = np.empty(3, dtype=object)
    column[:] = [datetime.date(2020, 1, 2), np.array([1.0, 2.0]), 7.0]
    found = unique_ids(None, 3)[1]
    np.testing.assert_array_equal(check_volumes(column, "V", found), [np.nan, np.nan, 7])
    np.testing.assert_array_equal(
        check_areas(column, "A", np.ones(3) * 7, found), [np.nan] * 2 + [7]
    )
    volume, area = found.problems
    assert (volume.kind, volume.ids, volume.repairable) == (Kind.TEXT, ("row 1", "row 2"), False)
    assert "V holds 2020-01-02, [1. 2.]" in volume.detail
    assert (area.kind, area.repairable) == (Kind.TEXT, True)


def test_no_volume_is_both_refused_and_kept():
    column = np.array([5.0, -9999, -3, 2e4, np.nan, 0])
    found = unique_ids(None, 6)[1]
    volume = check_volumes(column, "V", found)
    np.testing.assert_array_equal(volume, [5, np.nan, np.nan, np.nan, np.nan, 0])
    assert found.dropped.tolist() == [False, True, True, True, False, False]


def test_rounded_areas_do_not_differ():
    found = unique_ids(None, 3)[1]
    check_areas(np.array([0.1, 1.0, 100.0]), "A", np.array([0.06, 1.04, 101.2]), found)
    (problem,) = found.problems
    assert problem.ids == ("row 3",)


def test_areas_in_words_are_not_compared():
    found = unique_ids(None, 2)[1]
    stated = check_areas(np.array(["x", "1"], dtype=object), "A", np.ones(2), found)
    np.testing.assert_array_equal(stated, [np.nan, 1])
    (problem,) = found.problems
    assert problem.kind == Kind.TEXT
    assert problem.repairable


def test_repairable_problems_do_not_stop_the_run():
    found = Findings(np.array(["a", "b"], dtype=object))
    found.repaired(Kind.MISSING_VOLUME, np.array([True, False]), "kept")
    assert found.settle("x.shp", keep_going=False).all()
    found.refused(Kind.NEGATIVE_VOLUME, np.array([False, True]), "V is -5 m³/ha")
    with pytest.raises(LabelError, match=r"x.shp(?s:.)*negative volume: 1 stand \(b\)"):
        found.settle("x.shp", keep_going=False)
    assert found.settle("x.shp", keep_going=True).tolist() == [True, False]
