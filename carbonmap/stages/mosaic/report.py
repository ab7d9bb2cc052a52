"""What a composed image tells of itself: lineage, gaps by reason, harmony, seams."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from carbonmap.composite import NO_SOURCE, Composite
from carbonmap.harmonise import Harmony
from carbonmap.quality import NOT_MEASURED, Quality, QualityBits, has
from carbonmap.seams import Steps
from carbonmap.stages.mosaic.plan import Plan
from carbonmap.types import Json

GAPS = ("cloud", "cloud_shadow", "missing", "outside")
"""Reasons of gaps. A gap is counted under one: under a cloud where any scene saw one there, since
the next scene may not; else under a cloud's shadow; else as missing where a scene that reaches it
measured nothing (a lost line, a count of 0, saturation); else it lies outside every scene."""

SHOWN = 8
"""Scenes that the text lists."""


SEAM_WARN = 1.5
"""Step across borders of scenes over that beside them past which seams show: 1 is none at all, and
scenes of one season that were corrected alike come out within 1.1."""


def gap_counts(gaps: QualityBits) -> dict[str, int]:
    """Pixels of gaps by reason, each counted once.

    Args:
        gaps: quality of the pixels without a source, ``(pixel,)``.
    """
    cloud = has(gaps, Quality.CLOUD)
    shadow = has(gaps, Quality.CLOUD_SHADOW) & ~cloud
    missing = has(gaps, NOT_MEASURED & ~Quality.OUTSIDE) & ~cloud & ~shadow
    rest = gaps.size - sum(int(one.sum()) for one in (cloud, shadow, missing))
    return dict(
        zip(GAPS, (int(cloud.sum()), int(shadow.sum()), int(missing.sum()), rest), strict=True)
    )


def block_facts(made: Composite) -> Json:
    """What the journal keeps of a block: pixels by scene number, gaps by reason."""
    gap = made.source == NO_SOURCE
    numbers, counts = np.unique(made.source[~gap], return_counts=True)
    used = {str(n): int(c) for n, c in zip(numbers, counts, strict=True)}
    return {"used": used, "gaps": gap_counts(made.quality[gap])}


def harmony_of(told: Json) -> Harmony:
    """Gains and offsets as `Harmony.to_json` gave them, without the overlaps behind them."""
    gain, offset = np.array(told["gain"]), np.array(told["offset"])
    none = np.empty((0, gain.shape[1]))
    return Harmony(gain, offset, np.array(told["group"]), (), none, none)


def facts(plan: Plan, blocks: Sequence[Json], told: Json | None, steps: Steps) -> Json:
    """The report.

    Args:
        plan: the image's.
        blocks: what the journal has of every block.
        told: of the harmony; None where scenes were left as they are.
        steps: across borders and beside them.
    """
    total = plan.grid.size
    gaps = {name: sum(block["gaps"][name] for block in blocks) for name in GAPS}
    covered = total - sum(gaps.values())
    return {
        "layer": plan.layer.to_json(),
        "pixels": total,
        "covered": _counted(covered, total),
        "gaps": {name: _counted(count, total) for name, count in gaps.items()},
        "scenes": _scenes(plan, blocks, told),
        "harmony": None if told is None else _overlaps(plan, told),
        "seams": {
            "ratio": _number(steps.ratio),
            "across": [_number(v) for v in steps.mean_across],
            "across_pairs": steps.across_count,
            "beside": [_number(v) for v in steps.mean_within],
            "beside_pairs": steps.within_count,
        },
        "notes": _notes(steps.ratio, told is not None),
    }


def _notes(ratio: float, harmonised: bool) -> list[str]:
    """What the user should know, a sentence each."""
    if not ratio > SEAM_WARN:  # nor where no two scenes meet
        return []
    cure = (
        "they are of seasons too far apart, or under clouds or haze that nobody flagged: name a "
        "shorter period, or ingest them anew with other corrections"
        if harmonised
        else "they were not harmonised: leave --no-harmonise out"
    )
    return [
        f"seams show, since scenes differ along their borders beyond the land's own steps; {cure}"
    ]


def _counted(pixels: int, total: int) -> Json:
    return {"pixels": pixels, "share": pixels / total}


def _number(value: float) -> float | None:
    """For JSON, which knows no NaN."""
    return float(value) if math.isfinite(value) else None


def _scenes(plan: Plan, blocks: Sequence[Json], told: Json | None) -> list[Json]:
    """Each scene by its number: what it gave, and how it was moved."""
    found = []
    for number, (info, days) in enumerate(zip(plan.infos, plan.days, strict=True)):
        used = sum(block["used"].get(str(number), 0) for block in blocks)
        one: Json = {"id": info.id, "day": info.day, "days_from_middle": days}
        one |= {"view_zenith_deg": info.view_zenith_deg, **_counted(used, plan.grid.size)}
        if told is not None:
            one |= {name: told[name][number] for name in ("gain", "offset", "group")}
        found.append(one)
    return found


def _overlaps(plan: Plan, told: Json) -> Json:
    """Overlaps with their scenes' ids, and how far scenes differ in them at the root mean square.

    Differences are of means, over all overlaps and bands, weighted by the pixels compared.
    """
    ids = [info.id for info in plan.infos]
    links = [link | {"scenes": [ids[n] for n in link["scenes"]]} for link in told["links"]]
    weight = np.array([link["kept"] for link in links], float)
    rms = {}
    for when in ("before", "after"):
        square = np.array([np.mean(np.square(link[when])) for link in links])
        rms[when] = float(np.sqrt(square @ weight / weight.sum())) if links else None
    return {
        "groups": len(set(told["group"])),
        "difference_before": rms["before"],
        "difference_after": rms["after"],
        "links": links,
    }


def text(folder: Path, report: Json) -> str:
    """The report for people."""
    scenes = report["scenes"]
    days = sorted(one["day"] for one in scenes)
    span = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
    covered = report["covered"]
    lines = [
        f"{folder}: {_plural(len(scenes), 'scene')} of {report['layer']['period']} ({span})",
        f"  covered {covered['share']:.1%} ({covered['pixels']:,} of {report['pixels']:,} px)",
        f"  gaps: {_gaps(report['gaps'])}",
        f"  {_harmony(report)}",
    ]
    if (ratio := report["seams"]["ratio"]) is not None:
        lines.append(f"  step across borders of scenes: {ratio:.2f} of that beside them")
    lines += [f"  {note}" for note in report["notes"]]
    most = sorted(scenes, key=lambda one: (-one["pixels"], one["id"]))
    lines += [f"  {one['id']} ({one['day']}): {one['share']:.1%}" for one in most[:SHOWN]]
    if len(most) > SHOWN:
        rest = sum(one["share"] for one in most[SHOWN:])
        lines.append(f"  {_plural(len(most) - SHOWN, 'more scene')}: {rest:.1%}")
    return "\n".join(lines)


def _gaps(gaps: Json) -> str:
    words = {"outside": "outside every scene", "cloud_shadow": "cloud shadow"}
    told = [
        f"{words.get(name, name)} {gap['share']:.1%} ({gap['pixels']:,} px)"
        for name, gap in gaps.items()
        if gap["pixels"]
    ]
    return ", ".join(told) or "none"


def _harmony(report: Json) -> str:
    found = report["harmony"]
    if found is None:
        return "radiometry of the scenes left as it is"
    if not found["links"]:
        return "no two scenes share enough clear pixels to be harmonised"
    gain, offset = (
        [v for one in report["scenes"] for v in one[name]] for name in ("gain", "offset")
    )
    line = (
        f"harmonised by {_plural(len(found['links']), 'overlap')}: gains {min(gain):.3f} to "
        f"{max(gain):.3f}, offsets {min(offset):+.4f} to {max(offset):+.4f}; scenes differed by "
        f"{found['difference_before']:.4f} and now do by {found['difference_after']:.4f}"
    )
    if found["groups"] > 1:
        line += f"; {found['groups']} groups of scenes do not meet and were not compared"
    return line


def _plural(count: int, what: str) -> str:
    return f"{count} {what}" + "s" * (count != 1)
