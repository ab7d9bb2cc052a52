"""What the report says of changes between its maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from carbonmap.errors import InputError
from carbonmap.io import maps, output
from carbonmap.stages.change import MARK, NAME, SIGNIFICANT
from carbonmap.stages.products import SPREAD_SHARE
from carbonmap.stages.report_parts import carbon, picture
from carbonmap.stages.totals_text import ALL, called
from carbonmap.types import Json


def changes(folders: Sequence[Path], hashes: Mapping[str, Path]) -> list[Json]:
    """The marks of what `change` wrote.

    Args:
        folders: that it wrote.
        hashes: the maps of the page, by hash.

    Raises:
        InputError: one is of other maps.
    """
    found = []
    for folder in folders:
        done = output.require_complete(folder / MARK, "change")
        if lost := [sha for sha in done["origin"]["maps"] if sha not in hashes]:
            raise InputError(
                f"change {str(folder)!r} is of {done['report']['before']} and "
                f"{done['report']['after']}, of which {len(lost)} is not among the maps or has "
                f"changed since; give a folder with both, or run `carbonmap change` of these"
            )
        found.append(done)
    return found


def section(folder: Path, done: Json, style: tuple[float, float], work: Path) -> Json:
    """All that the page says of one change."""
    facts = done["report"]
    paths = {
        name: next(folder.glob(f"*_{facts['before']}_{facts['after']}_{name}.tif"))
        for name in (NAME, SIGNIFICANT)
    }
    for path in paths.values():
        maps.require_whole(path, by_size=True)
    change, bounds, crs = maps.overview(paths[NAME])
    code = maps.overview(paths[SIGNIFICANT])[0]
    significant = np.where(np.isnan(change), np.nan, np.where(code > 0, change, 0.0))
    ends = (-SPREAD_SHARE * style[1], SPREAD_SHARE * style[1])
    what = "Seasonal difference" if facts["season"] else "Change"
    drawn = ((f"{what} of carbon density", change), ("Where it is significant", significant))
    pictures = [
        picture(work / f"{NAME}{number}.png", values.astype(np.float32), bounds, crs, ends, title)
        for number, (title, values) in enumerate(drawn)
    ]
    return {
        "what": what,
        "before": facts["before"],
        "after": facts["after"],
        "light": f"{facts['light_error']:.1%}",
        "pictures": pictures,
        "rows": [_row(one) for one in facts["areas"] if one["mapped_ha"]],
    }


def _row(one: Json) -> Json:
    """A line of the table of changes."""
    own, seen = one["pools"][ALL], one["significant"]
    return carbon(own, "+,.0f") | {
        "name": called(one),
        "mapped": f"{one['mapped_ha']:,.0f}",
        **{name: f"{half:,.0f}" for name, half in own["half_t_c"].items()},
        "loss": f"{seen['loss']['ha']:,.0f}",
        "gain": f"{seen['gain']['ha']:,.0f}",
    }


def warnings(done: Sequence[Json]) -> list[str]:
    """What anyone who uses these changes must know."""
    return [
        f"{one['report']['before']} to {one['report']['after']}: {text}"
        for one in done
        for text in one["report"]["warnings"]
    ]
