"""What `change` tells: lines for people, and a table."""

from __future__ import annotations

import csv
import io

from carbonmap.stages.label_text import safe
from carbonmap.stages.totals_text import ALL, SHOWN, called
from carbonmap.types import Json

KEYS = ("t_c", "low_95_t_c", "high_95_t_c", "t_co2", "low_95_t_co2", "high_95_t_co2")

PARTS = ("chance", "seen", "factors")


def csv_text(report: Json) -> str:
    """A row an area: both dates, the change with its interval and its parts, then every pool's."""
    buffer = io.StringIO()
    out = csv.writer(buffer, lineterminator="\n")
    pools = [name for name in report["areas"][0]["pools"] if name != ALL]
    out.writerow(
        ["kind", "name", "before", "after", "area_ha", "mapped_ha", "before_t_c", "after_t_c"]
        + [f"change_{key}" for key in KEYS]
        + [f"half_{part}_t_c" for part in PARTS]
        + ["loss_ha", "loss_t_c", "gain_ha", "gain_t_c"]
        + [f"{pool}_change_{key}" for pool in pools for key in KEYS[:3]]
    )
    for one in report["areas"]:
        own, seen = one["pools"][ALL], one["significant"]
        land = [one[key] for key in ("area_ha", "mapped_ha", "before_t_c", "after_t_c")]
        figures = [own[key] for key in KEYS] + [own["half_t_c"][part] for part in PARTS]
        figures += [seen[way][key] for way in ("loss", "gain") for key in ("ha", "t_c")]
        figures += [one["pools"][pool][key] for pool in pools for key in KEYS[:3]]
        out.writerow(
            [one["kind"], safe(one["name"]), report["before"], report["after"]]
            + [f"{value:.3f}" for value in land[:2]]
            + [f"{value:.3f}" if one["mapped_ha"] else "" for value in land[2:] + figures]
        )
    return buffer.getvalue()


def text(report: Json) -> str:
    """Areas in a line each, at most `SHOWN`, then what a reader should know."""
    what = "seasonal difference" if report["season"] else "change"
    lines = [f"{what}, {report['before']} to {report['after']}"]
    for one in report["areas"][:SHOWN]:
        if not one["mapped_ha"]:
            lines.append(f"{called(one)}: no value on both maps")
            continue
        own, seen = one["pools"][ALL], one["significant"]
        parts = ", ".join(f"{k} {v:,.0f}" for k, v in own["half_t_c"].items() if v)
        lines.append(
            f"{called(one)}: {own['t_c']:+,.0f} t C, 95 % {own['low_95_t_c']:+,.0f} to "
            f"{own['high_95_t_c']:+,.0f}, on {one['mapped_ha']:,.0f} ha (± {parts}); significant "
            f"loss on {seen['loss']['ha']:,.0f} ha, gain on {seen['gain']['ha']:,.0f} ha"
        )
    if len(report["areas"]) > SHOWN:
        lines.append(f"and {len(report['areas']) - SHOWN} more in change.csv")
    return "\n".join([*lines, *(f"warning: {one}" for one in report["warnings"])])
