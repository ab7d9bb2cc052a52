"""Months, days and ranges as users write them."""

from __future__ import annotations

import calendar
import datetime
import re
from collections.abc import Sequence

from carbonmap.errors import ConfigError

_PART = re.compile(r"\d{4}-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?", re.ASCII)


def check_day(text: str) -> str:
    """An ISO day, ``YYYY-MM-DD``.

    Raises:
        ConfigError: it is something else.
    """
    try:
        return datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        raise ConfigError(
            f"date {text!r} is not a day; write YYYY-MM-DD, such as 2020-08-27"
        ) from None


def parse_periods(text: str) -> tuple[str, ...]:
    """``2020-02,2020-05`` or ``2020-02/2020-06`` into periods.

    Raises:
        ConfigError: a part is not a month, a day or a range of them, or a range runs backwards.
    """
    periods = tuple(p.strip() for p in text.split(",") if p.strip())
    for period in periods:
        ends = period.split("/")
        if len(ends) > 2 or not all(_PART.fullmatch(e) for e in ends):
            raise ConfigError(
                f"date {period!r} is not a month, a day or a range; write 2020-02, 2020-02-15 or "
                f"2020-02/2020-06"
            )
        if _ends(ends[0])[0] > _ends(ends[-1])[1]:
            raise ConfigError(
                f"range {period!r} runs backwards; write {'/'.join(reversed(ends))}, the earlier "
                f"end first"
            )
    if not periods:
        raise ConfigError(f"dates {text!r} name no date; write 2020-02,2020-05")
    return periods


def in_period(day: str, period: str) -> bool:
    """Whether an ISO day lies in a month, a day, or a range whose ends both count whole."""
    first, _, last = period.partition("/")
    last = last or first
    return first <= day[: len(first)] and day[: len(last)] <= last


def apart(inventory_year: int | None, days: Sequence[str]) -> list[str]:
    """What to say of images, by their days or months, whose year is not the inventory's."""
    if inventory_year is None:
        return []
    told = []
    for day in days:
        years = int(day[:4]) - inventory_year
        if years:
            which = "younger" if years > 0 else "older"
            told.append(
                f"the inventory is of {inventory_year}, and {day} is {abs(years)} "
                f"year{'s' * (abs(years) > 1)} {which}: what grew or was felled between is no error"
            )
    return told


def days_between(first: str, second: str) -> int:
    """Days from one ISO day to another, negative where the second is the earlier one.

    Raises:
        ConfigError: one of them is no day.
    """
    one, other = (datetime.date.fromisoformat(check_day(d)) for d in (first, second))
    return (other - one).days


def middle_day(period: str) -> str:
    """The day by which what was composed of a whole period is dated.

    With the same number of days before it as after it; of the two middle days of an even number,
    the earlier one: ``2020-02`` gives 2020-02-15, ``2020-11`` too, and a day itself.

    Raises:
        ConfigError: it is not a month, a day or a range of them.
    """
    several = parse_periods(period)
    if len(several) > 1:
        raise ConfigError(
            f"dates {period!r} are {len(several)} periods; one at a time has a middle"
        )
    first, _, last = several[0].partition("/")
    start, end = _ends(first)[0], _ends(last or first)[1]
    days = days_between(start, end)
    return (datetime.date.fromisoformat(start) + datetime.timedelta(days // 2)).isoformat()


def _ends(part: str) -> tuple[str, str]:
    """First and last day of a month or a day."""
    if len(part) > len("YYYY-MM"):
        return check_day(part), check_day(part)
    year, month = map(int, part.split("-"))
    if year == 0:
        raise ConfigError(f"date {part!r} is not a month; there was no year 0")
    return f"{part}-01", f"{part}-{calendar.monthrange(year, month)[1]:02}"
