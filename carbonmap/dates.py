"""Months, days and ranges as users write them."""

from __future__ import annotations

import datetime
import re

from carbonmap.errors import ConfigError

_PART = re.compile(r"\d{4}-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?")


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
        ConfigError: a part is not a month, a day or a range of them.
    """
    periods = tuple(p.strip() for p in text.split(",") if p.strip())
    for period in periods:
        ends = period.split("/")
        if len(ends) > 2 or not all(_PART.fullmatch(e) for e in ends) or ends != sorted(ends):
            raise ConfigError(
                f"date {period!r} is not a month, a day or a range; write 2020-02, 2020-02-15 or "
                f"2020-02/2020-06"
            )
    if not periods:
        raise ConfigError(f"dates {text!r} name no date; write 2020-02,2020-05")
    return periods


def in_period(day: str, period: str) -> bool:
    """Whether an ISO day lies in a month, a day, or a range whose ends both count whole."""
    first, _, last = period.partition("/")
    last = last or first
    return first <= day[: len(first)] and day[: len(last)] <= last
