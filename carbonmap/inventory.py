"""What can be wrong with an inventory's numbers and ids: a field's values in, findings out."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from carbonmap.findings import Findings, Kind
from carbonmap.types import Bool, Floats, Plots

NODATA_LIKE = (
    *(-99.0, -999.0, -9999.0, -99999.0, -32768.0, -2147483648.0),
    *(9999.0, 99999.0, 999999.0, 32767.0, 65535.0, 2147483647.0),
)
"""Numbers that programs write for "nothing measured"; none is a volume per hectare."""

HUGE = 1e15
"""Beyond this a number is a floating-point nodata code (1e20, 1e30, 3.4e38, 1.8e308, infinity)."""

MAX_VOLUME = 10_000.0
"""m³/ha; coast redwoods, the fullest forest on Earth, reach about this. More is another unit, or
the whole stand's volume."""

HIGH_VOLUME = 1_500.0
"""m³/ha that few stands outside the temperate rain forests reach: worth a look at field and unit,
and no reason to stop."""

CLOSURE = 1.0
"""m³/ha; an inventory without a stand above it tells something else, such as canopy closure."""

AREA_PERCENT = 1.0
"""Stated and measured areas further apart are reported: the scale of a UTM or Gauss-Krüger zone
explains up to about 0.2 %, and a datum shift nothing."""

AREA_HA = 0.05
"""Smaller differences are rounding of an area stated in tenths of a hectare."""

AREA_UNITS = {15.0: "mu (亩)", 10_000.0: "m²", 0.01: "km²", 2.471: "acres"}
"""Other units that an area field may hold, by how many make a hectare."""


def id_text(value: object) -> str:
    """An id as text, so that 376, 376.0 and " 376" are one id; "" where it is missing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


def unique_ids(values: Sequence[object] | None, count: int) -> tuple[NDArray[np.object_], Findings]:
    """An id for every stand that no other has, and the findings that start with them.

    A missing id becomes ``row N`` (N from 1); later stands of a repeated id get ``#2``, ``#3``.

    Args:
        values: the id field, shape ``(polygon,)``; None where there is none.
        count: number of stands.
    """
    given = [""] * count if values is None else [id_text(v) for v in values]
    named = [name or f"row {row}" for row, name in enumerate(given, 1)]
    times = Counter(named)
    taken, seen = set(times), Counter[str]()
    ids = np.empty(count, dtype=object)
    for row, name in enumerate(named):
        seen[name] += 1
        own, number = name, seen[name]
        while number > 1 and own in taken:
            own, number = f"{name}#{number}", number + 1
        taken.add(own)
        ids[row] = own
    found = Findings(ids)
    if values is not None:
        missing = np.array([not name for name in given], dtype=bool)
        found.repaired(Kind.MISSING_ID, missing, "named by their row")
        found.repaired(
            Kind.DUPLICATED_ID,
            np.array([times[name] > 1 for name in named], dtype=bool),
            f"{sum(n > 1 for n in times.values())} ids are given more than once; the later stands "
            f"got #2, #3, …",
        )
    return ids, found


def as_numbers(column: NDArray[Any]) -> tuple[Plots, Bool, Bool]:
    """A field's values as numbers.

    Args:
        column: numbers, or objects of which some are texts, dates or the like; None and NaN are
            missing.

    Returns:
        The numbers (NaN where missing or unreadable), which entries are unreadable, and which were
        readable text; each ``(polygon,)``.
    """
    if np.issubdtype(column.dtype, np.number):
        nothing = np.zeros(column.shape, dtype=bool)
        return column.astype(np.float64), nothing, nothing.copy()
    known = {v: _number(v) for v in set(filter(_is_text, column.tolist()))}
    pairs = [known[v] if _is_text(v) else _plain(v) for v in column.tolist()]
    number = np.array([p[0] for p in pairs], dtype=np.float64)
    text = np.array([_is_text(v) and bool(v.strip()) for v in column.tolist()], dtype=bool)
    readable = np.array([p[1] for p in pairs], dtype=bool)
    return number, ~readable, text & readable


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _plain(value: object) -> tuple[float, bool]:
    """The number that a value other than text is, and whether it is one or missing."""
    if isinstance(value, bool) or not isinstance(value, Real | Decimal):
        return math.nan, value is None
    return float(value), True


def _number(text: str) -> tuple[float, bool]:
    """A text's number, and whether it is one; an empty text is a missing number."""
    if not text.strip():
        return math.nan, True
    try:
        return float(text), True
    except ValueError:
        return math.nan, False


def check_volumes(
    column: NDArray[Any], name: str, found: Findings, nodata: Sequence[float] = ()
) -> Plots:
    """Growing stock from the volume field; what is no volume goes into the findings.

    Args:
        column: the field's values, shape ``(polygon,)``.
        name: its name, for messages.
        found: gets the problems.
        nodata: values that the user says mean "unknown".

    Returns:
        m³/ha, same shape; NaN where missing or refused.
    """
    volume, unreadable, converted = as_numbers(column)
    volume[np.isin(volume, np.asarray(nodata, dtype=np.float64))] = np.nan
    odd = np.isin(volume, NODATA_LIKE) | (np.abs(volume) > HUGE)
    negative = (volume < 0) & ~odd
    implausible = (volume > MAX_VOLUME) & ~odd
    examples = _examples(column[unreadable])
    found.refused(Kind.TEXT, unreadable, f"{name} holds {examples}; write numbers, or leave empty")
    found.repaired(Kind.NUMBER_AS_TEXT, converted, f"{name} is a text field; its numbers were read")
    found.refused(
        Kind.NODATA_VOLUME,
        odd,
        f"{name} is {_examples(volume[odd])}, a code for nothing measured; leave it empty",
    )
    found.refused(Kind.NEGATIVE_VOLUME, negative, f"{name} is {_examples(volume[negative])} m³/ha")
    found.refused(
        Kind.IMPLAUSIBLE_VOLUME,
        implausible,
        f"{name} is {_examples(volume[implausible])} m³/ha, more than any forest holds; is it the "
        f"whole stand's volume?",
    )
    refused = unreadable | odd | negative | implausible
    high = (volume > HIGH_VOLUME) & ~odd & ~implausible
    found.repaired(
        Kind.HIGH_VOLUME,
        high,
        f"{name} is {_examples(volume[high])} m³/ha, which few forests hold; kept: make sure that "
        f"it is the volume of a hectare, not of a stand",
    )
    found.repaired(
        Kind.MISSING_VOLUME,
        np.isnan(volume) & ~unreadable,
        f"{name} is empty; kept as stands of unknown carbon",
    )
    volume[refused] = np.nan
    some = volume[volume > 0]
    if some.size and some.max() <= CLOSURE:
        found.notes.append(
            f"no {name} is above {CLOSURE:g} m³/ha: is it the volume of a hectare, or a share such "
            f"as canopy closure?"
        )
    return volume


def _examples(values: Iterable[object]) -> str:
    """The most frequent values, at most five."""
    counts = Counter(map(_shown, values))
    shown = [text for text, _ in counts.most_common(5)]
    return ", ".join(shown) + (", …" if len(counts) > 5 else "")


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return repr(value) if _is_text(value) else str(value)


def check_areas(column: NDArray[Any], name: str, measured: Plots, found: Findings) -> Plots:
    """The inventory's own areas, compared with the measured ones, which are used.

    Args:
        column: the area field's values, shape ``(polygon,)``.
        name: its name, for messages.
        measured: ha on the ellipsoid, same shape; NaN where the outline is unusable.
        found: gets the differences.

    Returns:
        Stated areas, ha, same shape; NaN where missing.
    """
    stated, unreadable, _ = as_numbers(column)
    examples = _examples(column[unreadable])
    found.repaired(Kind.TEXT, unreadable, f"{name} holds {examples}; these areas are not compared")
    gap = np.abs(stated - measured)
    differs = (gap > AREA_PERCENT / 100 * measured) & (gap > AREA_HA)
    if differs.any():
        both = ~np.isnan(gap)
        total, own = float(stated[both].sum()), float(measured[both].sum())
        worst = int(np.nanargmax(np.where(differs, gap / np.maximum(measured, AREA_HA), np.nan)))
        found.repaired(
            Kind.AREA_DIFFERS,
            differs,
            f"{name} and the outline differ by more than {AREA_PERCENT:g} % (most at stand "
            f"{found.ids[worst]}: {stated[worst]:.6g} against {measured[worst]:.6g} ha; sums "
            f"{total:.6g} against {own:.6g}); the measured areas are used"
            + _unit_hint(stated[differs] / measured[differs]),
        )
    return stated


def _unit_hint(ratio: Floats) -> str:
    """What unit the stated areas look like, where it is not the hectare."""
    middle = float(np.median(ratio))
    for per_hectare, unit in AREA_UNITS.items():
        if abs(middle / per_hectare - 1) < 2 * AREA_PERCENT / 100:
            return f"; the field looks like {unit}"
    return ""
