"""Periods: which day stands for one, and how far days are apart."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carbonmap import dates
from carbonmap.errors import ConfigError


@pytest.mark.parametrize(
    ("period", "day"),
    [
        ("2020-02", "2020-02-15"),  # 29 days: 14 before, 14 after
        ("2021-02", "2021-02-14"),  # 28 days: the earlier of two middle days
        ("2020-05", "2020-05-16"),
        ("2020-11", "2020-11-15"),
        ("2020-08-27", "2020-08-27"),
        ("2020-02/2020-03", "2020-03-01"),  # 60 days
        ("2020-12-30/2021-01", "2021-01-15"),  # 33 days
    ],
)
def test_a_period_is_dated_by_its_middle_day(period, day):
    assert dates.middle_day(period) == day


@given(
    first=st.dates(datetime.date(1990, 1, 1), datetime.date(2100, 1, 1)),
    length=st.integers(0, 800),
)
def test_as_many_days_lie_before_the_middle_as_after_it(first, length):
    last = first + datetime.timedelta(length)
    middle = dates.middle_day(f"{first}/{last}")
    before = dates.days_between(str(first), middle)
    after = dates.days_between(middle, str(last))
    assert after - before in (0, 1)
    assert dates.in_period(middle, f"{first}/{last}")


def test_the_middle_of_a_month_lies_in_it():
    for month in range(1, 13):
        period = f"2023-{month:02}"
        assert dates.in_period(dates.middle_day(period), period)


def test_days_are_counted_with_their_sign():
    assert dates.days_between("2020-02-28", "2020-03-01") == 2
    assert dates.days_between("2020-03-01", "2020-02-28") == -2


@pytest.mark.parametrize("period", ["2020-02-30", "2020", "2020-02,2020-03", "0000-01", "yes"])
def test_what_is_no_period_has_no_middle(period):
    with pytest.raises(ConfigError):
        dates.middle_day(period)


@pytest.mark.parametrize("text", ["2021-02-29", "2020-02-01/2020-02-30", "2020-05,2020-04-31"])
def test_a_day_that_its_month_does_not_have_is_refused(text):
    with pytest.raises(ConfigError, match=r"date '\S+' is not a day"):
        dates.parse_periods(text)


@pytest.mark.parametrize("text", ["２０２０-02", "0000-01", "2020-02/2020-03/2020-04", ""])
def test_what_is_no_period_is_refused(text):
    with pytest.raises(ConfigError):
        dates.parse_periods(text)


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("2020-11/2020-02", "2020-02/2020-11"),
        ("2020-03/2020-02-29", "2020-02-29/2020-03"),
        ("2020-02-15/2020-02-14", "2020-02-14/2020-02-15"),
    ],
)
def test_a_range_that_runs_backwards_is_told_so(text, other):
    with pytest.raises(ConfigError, match=f"'{text}' runs backwards; write {other}, the earlier"):
        dates.parse_periods(text)
    assert dates.parse_periods(other) == (other,)


def test_a_range_may_end_in_the_month_that_it_begins_in():
    (period,) = dates.parse_periods("2020-02-15/2020-02")
    days = ("2020-02-14", "2020-02-15", "2020-02-29", "2020-03-01")
    assert [dates.in_period(day, period) for day in days] == [False, True, True, False]


def test_an_image_of_another_year_than_the_inventory_is_told():
    assert dates.apart(None, ["2020-08"]) == []
    assert dates.apart(2020, ["2020-08", "2020-11-15"]) == []
    younger, older = dates.apart(2018, ["2020-08", "2018-01-01", "2017-11"])
    assert "the inventory is of 2018, and 2020-08 is 2 years younger" in younger
    assert "2017-11 is 1 year older" in older
