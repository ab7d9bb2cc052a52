"""The labels' summary as a terminal, a spreadsheet and a picture show it."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from carbonmap import crs as crs_
from carbonmap.findings import listed
from carbonmap.grid import Grid
from carbonmap.types import Json

SHOWN = 5
"""Ids of a problem that the terminal shows; summary.json has all."""

PICTURE_ROWS = 12
"""Lines of totals that the picture has room for."""


def text(out: Path, facts: Json) -> str:
    """The summary for a terminal."""
    totals, balance = facts["totals"], facts["mass_balance"]
    half = _half_widths(facts)
    lines = [
        f"{out}: {totals['stands']:,} stands on {totals['area_ha']:,.0f} ha inside "
        f"{facts['region']!r}, "
        f"profile {facts['profile']}",
    ]
    for pool, carbon in totals["t_c"].items():
        lines.append(
            f"  {pool:<16} {carbon:>16,.0f} t C{half[pool]}   {totals['t_co2'][pool]:>16,.0f} t CO2"
        )
    lines.append(f"  {_interval_text(facts['uncertainty'])}")
    lines.append(
        f"  map and stands differ by {balance['relative_difference']:.1e} of the stock; "
        f"{facts['outside_region']['t_c']['total']:,.0f} t C lie outside the region"
    )
    lines += [f"  problem: {_brief(p)}" for p in facts["problems"]]
    if facts["dropped"]:
        lines.append(f"  left out: {len(facts['dropped'])} ({listed(facts['dropped'])})")
    if facts["overlaps"]["pairs"]:
        both = facts["overlaps"]
        least, most = both["t_c_counted_twice"]
        lines.append(
            f"  overlaps: {both['pairs']} pairs claim {both['area_ha']:,.2f} ha twice, which puts "
            f"{least:,.0f} to {most:,.0f} t C into the totals once too often"
        )
    return "\n".join([*lines, *(f"  note: {n}" for n in facts["notes"])])


def _half_widths(facts: Json) -> dict[str, str]:
    """How far each pool's total may be off, by Monte Carlo where it was asked for."""
    found = facts["uncertainty"].get("approach_2") or facts["uncertainty"]["approach_1"]
    percents = {pool: found[pool]["half_width_percent"] for pool in facts["totals"]["t_c"]}
    return {pool: "" if p is None else f" ± {p:.1f} %" for pool, p in percents.items()}


def _interval_text(found: Json) -> str:
    """By which approach the intervals were found."""
    if "approach_2" not in found:
        return "intervals: 95 %, IPCC Approach 1, error propagation"
    first = found["approach_1"]["total"]["half_width_percent"]
    return f"intervals: 95 %, IPCC Approach 2, {found['approach_2']['draws']:,} draws" + (
        "" if first is None else f"; Approach 1 gives ± {first:.1f} % of the total"
    )


def _brief(problem: Json) -> str:
    ids = ", ".join(problem["ids"][:SHOWN])
    more = f" and {problem['count'] - SHOWN} more" if problem["count"] > SHOWN else ""
    return f"{problem['kind']}: {problem['count']} ({ids}{more}): {problem['detail']}"


def csv_text(facts: Json) -> str:
    """Totals as a table: all stands first, then by field and value."""
    pools = list(facts["totals"]["t_c"])
    buffer = io.StringIO()
    out = csv.writer(buffer, lineterminator="\n")
    carbon = [*(f"{p}_t_c" for p in pools), *(f"{p}_t_co2" for p in pools)]
    out.writerow(["field", "value", "stands", "area_ha", "known_area_ha", *carbon])
    groups = [("", "all", facts["totals"])]
    groups += [(f, value, t) for f, found in facts["by"].items() for value, t in found.items()]
    for field, value, t in groups:
        figures = [t["area_ha"], t["known_area_ha"], *t["t_c"].values(), *t["t_co2"].values()]
        told = [f"{v:.6g}" if v < 1e5 else f"{v:.1f}" for v in figures]
        out.writerow([safe(field), safe(value), t["stands"], *told])
    return buffer.getvalue()


def safe(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in "=+-@\t\r" and text else text


def picture_rows(facts: Json) -> list[tuple[str, str]]:
    """Totals for the picture: pools, then the first field's largest values."""
    half = _half_widths(facts)
    rows = [("pool", "t C (± 95 %)")]
    rows += [
        (pool.replace("_", " "), f"{carbon:,.0f}{half[pool]}")
        for pool, carbon in facts["totals"]["t_c"].items()
    ]
    for field, found in facts["by"].items():
        ranked = sorted(found.items(), key=lambda item: -item[1]["t_c"]["total"])
        rows.append((field, "t C"))
        rows += [(value, f"{t['t_c']['total']:,.0f}") for value, t in ranked[:PICTURE_ROWS]]
        break
    return rows


def crs_label(grid: Grid) -> str:
    """A CRS as axes name it."""
    return grid.crs if grid.crs.startswith("EPSG") else str(crs_.parse(grid.crs).name)
