"""What `totals` tells: lines for people, and a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from carbonmap.stages.adding import ASSISTED, MODEL
from carbonmap.stages.label_text import safe
from carbonmap.types import Json

ALL = "total"
"""All pools together."""

LEAST_LOST = 0.001
"""Share of an area without value that is told."""

SHOWN = 20
"""Areas that a text lists; the table has them all."""


def gaps(areas: Sequence[Json], names: Sequence[str]) -> list[str]:
    """Areas of which a part has no value or lies beyond the map: their totals lack it.

    Args:
        areas: as they are told.
        names: of all areas that were asked for.
    """
    told = []
    found = {one["name"] for one in areas if one["kind"] == "area"}
    if beyond := [name for name in names if name not in found]:
        told.append(f"beyond the map, and in no line: {_some(beyond)}")
    lacking = []
    for one in areas:
        lost = 1 - one["mapped_ha"] / one["area_ha"] if one["area_ha"] else 0.0
        if one["kind"] == "area" and lost > LEAST_LOST:
            outside = 1 - one["share_on_map"]
            of_it = f", {outside:.1%} beyond the map" if outside > LEAST_LOST else ""
            lacking.append(f"{one['name']} ({lost:.1%}{of_it})")
    if lacking:
        told.append(f"without value, and in no total: {_some(lacking)}")
    return told


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def called(one: Json) -> str:
    """An area's name; a class's code says that it is one."""
    return f"class {one['name']}" if one["kind"] == "class" else str(one["name"])


def csv_text(report: Json) -> str:
    """A row an area: all pools with their interval and its parts, then every pool's carbon."""
    buffer = io.StringIO()
    out = csv.writer(buffer, lineterminator="\n")
    parts = ("model", "volume", "factors", "sampling")
    keys = ("t_c", "low_95_t_c", "high_95_t_c", "t_co2", "low_95_t_co2", "high_95_t_co2")
    pools = [name for name in report["areas"][0]["pools"] if name != ALL]
    out.writerow(
        [
            "kind",
            "name",
            "area_ha",
            "mapped_ha",
            "map_t_c",
            "estimator",
            "stands",
            *keys,
            *(f"half_{p}_t_c" for p in parts),
        ]
        + [f"{pool}_{key}" for pool in pools for key in keys[:3]]
    )
    for one in report["areas"]:
        own = one["pools"][ALL]
        land = [one["area_ha"], one["mapped_ha"], one["map_t_c"]]
        how = [one["estimator"], one["sample"]["stands"] if one["sample"] else 0]
        figures = [own[key] for key in keys] + [own["half_t_c"][part] for part in parts]
        figures += [one["pools"][pool][key] for pool in pools for key in keys[:3]]
        out.writerow(
            [one["kind"], safe(one["name"]), *map(_short, land), *how]
            + [_short(value) if one["mapped_ha"] else "" for value in figures]
        )
    return buffer.getvalue()


def _how(one: Json) -> str:
    """How a total was found, in a few words."""
    sample = one["sample"]
    if sample is None:
        return MODEL
    return (
        f"{ASSISTED}: {sample['t_c']:+,.0f} t C by {sample['stands']} stands kept aside on "
        f"{sample['share']:.0%} of the stands' land"
    )


def _short(value: float) -> str:
    return f"{value:.3f}"


def text(report: Json) -> str:
    """Areas in a line each, at most `SHOWN`, then what a reader should know."""
    lines = []
    for one in report["areas"][:SHOWN]:
        if not one["mapped_ha"]:
            lines.append(f"{called(one)}: no value on the map")
            continue
        own = one["pools"][ALL]
        parts = ", ".join(f"{k} {v:,.0f}" for k, v in own["half_t_c"].items() if v)
        lines.append(
            f"{called(one)}: {own['t_c']:,.0f} t C, "
            f"95 % {own['low_95_t_c']:,.0f} to {own['high_95_t_c']:,.0f}, on "
            f"{one['mapped_ha']:,.0f} ha (± {parts}; {_how(one)})"
        )
    if len(report["areas"]) > SHOWN:
        lines.append(f"and {len(report['areas']) - SHOWN} more in totals.csv")
    return "\n".join([*lines, *(f"warning: {one}" for one in report["warnings"])])
