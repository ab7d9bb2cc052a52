"""From the published calibration table to the gains, biases and solar irradiance of one scene."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from carbonmap.errors import ConfigError, nearest
from carbonmap.features import BANDS

GAIN_RANGE = (0.01, 1.0)
"""W m-2 sr-1 um-1 per count. Published gains run from 0.10 to 0.26; the inverse form of 2013 (5.3
to 9.5 counts per radiance) lies outside, so that it is not taken for a gain."""

BIAS_MOST = 50.0
"""W m-2 sr-1 um-1, either way: a quarter of what a full count of 1023 means."""


@dataclass(frozen=True)
class Calibration:
    """How the counts of one scene become radiance, and radiance reflectance.

    Args:
        gain: W m-2 sr-1 um-1 per count, by band (blue, green, red, nir).
        bias: W m-2 sr-1 um-1, so that L = gain · DN + bias.
        esun: mean solar irradiance at 1 AU, W m-2 um-1, by band.
        year: the row of the table that was used.
        notes: what a user should know of it, a sentence each.
    """

    gain: tuple[float, ...]
    bias: tuple[float, ...]
    esun: tuple[float, ...]
    year: int
    notes: tuple[str, ...] = ()


def calibrate(
    table: Mapping[str, Any],
    sensor: str,
    year: int,
    *,
    gain: Sequence[float] | None = None,
    bias: Sequence[float] | None = None,
) -> Calibration:
    """The calibration of a sensor in a year; a year without a row takes the nearest, and says so.

        L = gain · DN + bias;  a row of form "inverse", DN = g · L + b, becomes 1/g and −b/g

    Args:
        table: ``config.builtin("gf1_wfv")``.
        sensor: ``WFV1`` to ``WFV4``.
        year: in which the scene was taken.
        gain: the user's own, four numbers, instead of the table's.
        bias: the user's own, likewise; the row's stays where only the gain is given.

    Raises:
        ConfigError: the sensor is unknown, or a user's numbers cannot be a calibration.
    """
    if sensor not in table["sensor"]:
        raise ConfigError(
            f"sensor {sensor!r} has no calibration; {nearest(sensor, table['sensor'])}"
        )
    rows = {int(key): row for key, row in table["sensor"][sensor].items()}
    used = min(rows, key=lambda y: (abs(y - year), y))
    slope, offset = _direct(rows[used])
    notes = []
    if gain is None or bias is None:
        notes = _notes(table, sensor, year, used)
    if gain is not None:
        slope = _checked("gain", gain, *GAIN_RANGE)
        notes.append(f"gains {_text(slope)} are the user's, not the table's")
    if bias is not None:
        offset = _checked("bias", bias, -BIAS_MOST, BIAS_MOST)
        notes.append(f"biases {_text(offset)} are the user's, not the table's")
    esun = table["esun"][table["esun"]["default"]][sensor]
    return Calibration(slope, offset, tuple(map(float, esun)), used, tuple(notes))


def _direct(row: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Gain and bias of a row as L = gain · DN + bias, whichever way round it was published."""
    pairs = list(zip(row["gain"], row["bias"], strict=True))
    if row["form"] == "inverse":
        pairs = [(1 / g, -b / g) for g, b in pairs]
    return tuple(float(g) for g, _ in pairs), tuple(float(b) for _, b in pairs)


def _notes(table: Mapping[str, Any], sensor: str, year: int, used: int) -> list[str]:
    """What is uncertain about a row: its year, its source, and copies of it that differ."""
    row, notes = table["sensor"][sensor][str(used)], []
    if used != year:
        notes.append(f"no calibration of {sensor} for {year} is known; that of {used} was taken")
    if row.get("single_source"):
        notes.append(f"the calibration of {sensor} for {used} is known from one source only")
    for conflict in table["conflict"]:
        if (conflict["sensor"], conflict["year"]) == (sensor, used):
            notes.append(
                f"two {conflict['value']}s of {sensor} {conflict['band']} for {used} are in use; "
                f"{conflict['used']} was taken and not {conflict['other']}: {conflict['why']}"
            )
    return notes


def _checked(name: str, given: Sequence[float], low: float, high: float) -> tuple[float, ...]:
    """A user's numbers, one a band.

    Raises:
        ConfigError: there are more or fewer than bands, or one of them is out of range.
    """
    if len(given) != len(BANDS):
        raise ConfigError(
            f"{name} has {len(given)} number(s); give {len(BANDS)}, for {', '.join(BANDS)}"
        )
    for band, value in zip(BANDS, given, strict=True):
        if not (math.isfinite(value) and low <= value <= high):
            raise ConfigError(
                f"{name} of {band} is {value:g}; it must lie from {low:g} to {high:g} "
                f"W m-2 sr-1 um-1, as L = gain · DN + bias has it (2013's own form is the inverse: "
                f"give 1/gain and −bias/gain)"
            )
    return tuple(map(float, given))


def _text(values: Sequence[float]) -> str:
    return ", ".join(f"{v:g}" for v in values)
