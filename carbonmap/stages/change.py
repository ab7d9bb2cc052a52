"""`change`: what maps of two dates differ by, how far that errs, and what it adds up to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from carbonmap.change import UNKNOWN, ChangeError
from carbonmap.errors import CorruptData, InputError, MissingInput
from carbonmap.grid import Grid
from carbonmap.io import files, lattice, maps, output, raster
from carbonmap.io.cog import Layer
from carbonmap.io.maps import DENSITY_UNITS, MapFile
from carbonmap.io.output import Existing
from carbonmap.io.raster import Source
from carbonmap.io.style import CHANGE_COLOURS
from carbonmap.project import Project
from carbonmap.stages import change_text, common, drawing
from carbonmap.stages import labels as labels_
from carbonmap.stages.areas import AreaFile, added, described, outlines_of
from carbonmap.stages.change_sums import ChangeSum, read_pair
from carbonmap.stages.common import Report
from carbonmap.stages.evaluate import model_of, predicted
from carbonmap.stages.products import SPREAD_SHARE
from carbonmap.stages.scope import STATIC
from carbonmap.stages.totals import require_labels, stock_of
from carbonmap.stages.totals_text import gaps
from carbonmap.tiles import Tile
from carbonmap.types import Ints, Json, Raster

MARK = "change.json"

NAME = "carbon_change"

SD, SIGNIFICANT = f"{NAME}_sd", f"{NAME}_significant"

SEASON_MONTHS = 2
"""By which images of two years may lie apart in the year, for what differs to be taken for change.
"""

NEEDED: dict[str, Callable[[Any], Any]] = {
    "light_error": float,
    "shown_of_change": float,
    "region": str,
    "layers": list,
}
"""Of what `calibrate --change` keeps, beside the errors themselves."""


def change(
    project: Project,
    before: Path,
    after: Path,
    labels: Path,
    out: Path,
    *,
    model: Path | None = None,
    areas: AreaFile | None = None,
    classes: Sequence[Source] = (),
    existing: Existing = Existing.REFUSE,
) -> Report:
    """Maps of change, of its standard deviation and of where it is significant, and its totals.

    Both maps are means of draws that share their noise, as all maps by one model do: so their
    difference is the mean of the draws' differences. How far it errs, `calibrate --change` has
    found.

    Args:
        project: colours and threads.
        before: a carbon density map.
        after: one of a later date by the same model, drawn alike.
        labels: that the model learned from: pools and factors.
        out: folder for the maps, ``change.csv`` and ``change.json``.
        model: folder of the model that made the maps, where it is not where they say.
        areas: outlines, such as counties.
        classes: files of a class raster, such as land cover.
        existing: what to do about a change mapped otherwise.

    Raises:
        InputError: the maps are no pair, or areas or classes cannot be used.
        MissingInput: a map, the labels or what `calibrate --change` finds is not there.
        CorruptData: a map's bytes are not those that were written, or the model is another.
    """
    marks = [predicted(path) for path in (before, after)]
    _require_pair((before, after), marks)
    grid, warnings = maps.map_grid(before), list[str]()
    folder = model_of(before, model)
    facts, error = _calibrated(folder, marks[0])
    warnings += _warnings(marks, facts)
    require_labels(labels, folder)
    stock = stock_of(labels, marks[0]["report"]["tags"], warnings)
    outlines = outlines_of(areas, grid)
    for source in classes:
        raster.check_source(source)
    origin: Json = {
        "stage": "change",
        "maps": [files.sha256(path) for path in (before, after)],
        "calibration": facts,
        "labels": files.sha256(labels / labels_.MARK),
        "style_range_mg_c_ha": list(project.output.style_range_mg_c_ha),
        "areas": described(areas),
        "classes": [raster.describe_source(s) for s in classes],
    }
    with output.claim(out / MARK, origin, existing) as work:
        if work is None:
            held = (files.read_json(out / MARK) or {})["report"]
            return Report(f"{out} is up to date\n{change_text.text(held)}", held)
        read = partial(read_pair, before, after, error)
        found = added(grid, read, ChangeSum, outlines, classes, work.folder)
        if not found[0].mapped_ha:
            raise InputError(
                f"maps {str(before)!r} and {str(after)!r} have no pixel in common that has a value"
            )
        made = _maps(project, grid, out, origin, marks)
        common.require_space(work, grid, len(made))
        compute = partial(_tile, before, after, error)
        written = common.compute_tiles(grid, made, work, compute, "mapping change")
        report: Json = {
            "before": marks[0]["report"]["date"],
            "after": marks[1]["report"]["date"],
            "season": is_season(marks),
            "level": 0.95,
            "error": facts["error"],
            "light_error": facts["light_error"],
            "shown_of_change": facts["shown_of_change"],
            "areas": [one.told(error, stock) for one in found],
        }
        report["warnings"] = warnings + gaps(report["areas"], list(outlines))
        products = common.write_maps(grid, made, work, written, project.output.threads)
        products += [maps.write_sidecar(one, written[n].sums, origin) for n, one in made.items()]
        files.write_text(out / "change.csv", "\ufeff" + change_text.csv_text(report))
        work.finish([*products, out / "change.csv"], report)
    return Report(change_text.text(report), report)


def is_season(marks: Sequence[Json]) -> bool:
    """Whether less than a year lies between two maps: stock hardly changes then, a season does."""
    first, last = (mark["report"]["date"] for mark in marks)
    return 12 * (int(last[:4]) - int(first[:4])) + int(last[5:7]) - int(first[5:7]) < 12


def _require_pair(paths: Sequence[Path], marks: Sequence[Json]) -> None:
    """Refuse maps whose difference would be no change.

    Raises:
        InputError: they are of other land, by other models or draws, or in the wrong order.
    """
    names = " and ".join(repr(str(path)) for path in paths)
    for what, part, key in (
        ("lie on other grids or regions", "origin", "region"),
        ("are by different models", "report", "model_sha256"),
        ("were drawn differently", "origin", "drawing"),
    ):
        if marks[0][part].get(key) != marks[1][part].get(key):
            raise InputError(
                f"maps {names} {what}: their difference would hold that too; predict both dates by "
                f"one `carbonmap predict --dates A,B`"
            )
    for layer in STATIC:
        if len({mark["origin"]["inputs"].get(layer) for mark in marks}) > 1:
            raise InputError(
                f"maps {names} were predicted from different {layer.replace('_', ' ')} layers, "
                f"whose difference is no change; predict both anew with --overwrite"
            )
    first, last = (mark["report"]["date"] for mark in marks)
    if first >= last:
        raise InputError(
            f"maps {names} are of {first} and {last}; give two dates, the earlier one first"
        )


def _calibrated(folder: Path, mark: Json) -> tuple[Json, ChangeError]:
    """What `calibrate --change` found of the model in a folder.

    Raises:
        MissingInput: nobody calibrated it, or maps that it draws otherwise.
        CorruptData: what is kept cannot be understood.
    """
    told = mark["origin"].get("drawing", {})
    path = drawing.change_mark(folder, told)
    options = {"samples": "samples", "steps": "sampler_steps", "device": "device"}
    more = "".join(f" --{name} {told[key]}" for name, key in options.items() if told.get(key))
    if not path.is_file():
        raise MissingInput(
            f"how far change by model {str(folder)!r} errs was never found; run `carbonmap "
            f"calibrate --change --model {folder}{more} --dates …` with the dates that it learned "
            f"from"
        )
    again = f"run `carbonmap calibrate --change --model {folder}{more} --dates …` with --overwrite"
    try:
        held = output.require_complete(path, "calibration of change")
        facts, origin = held["report"], held["origin"]
        error = ChangeError.from_json(facts["error"])
        known = {name: kind(facts[name]) for name, kind in NEEDED.items()}
        if not all(np.isfinite(known[name]) for name in ("light_error", "shown_of_change")):
            raise ValueError("a figure is no number")
        mine = (origin["model"], origin["drawing"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise CorruptData(f"{str(path)!r} is damaged or another version's; {again}") from None
    if mine != (mark["report"]["model_sha256"], told):
        raise MissingInput(f"{str(path)!r} is of other weights or another device; {again}")
    return facts, error


def _warnings(marks: Sequence[Json], facts: Json) -> list[str]:
    """What a reader of a change must know."""
    told = []
    first, last = (mark["report"]["date"] for mark in marks)
    if is_season(marks):
        told.append(
            f"{first} and {last} lie within one year: what differs is season and error, and no "
            f"change of stock"
        )
    else:
        apart = abs(int(first[5:7]) - int(last[5:7]))
        if min(apart, 12 - apart) >= SEASON_MONTHS:
            told.append(
                f"{first} and {last} are of different seasons: part of what differs is season"
            )
    if "canopy_height" in facts["layers"]:
        told.append(
            "the model reads canopy height, which has no date: it shows a part of a change alone"
        )
    if marks[0]["origin"]["mask"] != marks[1]["origin"]["mask"]:
        told.append("the maps have different masks: change is told where both have a value")
    name = marks[0]["origin"]["region"]["name"]
    if facts["region"] != name:
        told.append(f"how change errs was found on {facts['region']}; on {name} it may err more")
    told.append(
        f"the model shows {facts['shown_of_change']:.0%} of a simulated change: maps and totals "
        f"are of change as it is mapped, and what is not seen lies outside of their intervals"
    )
    told.append(
        "of land where nothing changed 5 % counts as significant, on the average of many images; "
        "one image that is off makes it more"
    )
    told.append(
        f"errors are those of images whose bands err by {facts['light_error']:.1%} of themselves "
        f"from date to date; `calibrate --change --light-error` takes another share"
    )
    return told


def _maps(
    project: Project, grid: Grid, out: Path, origin: Json, marks: Sequence[Json]
) -> dict[str, MapFile]:
    first, last = (mark["report"]["date"] for mark in marks)
    tags = marks[0]["report"]["tags"]
    pools, region = tags["CARBONMAP_POOLS"], marks[0]["origin"]["region"]["name"]
    what = "seasonal difference" if is_season(marks) else "change"
    high = project.output.style_range_mg_c_ha[1]
    layers: dict[str, tuple[Layer, tuple[float, float] | None]] = {
        NAME: (
            Layer(NAME, f"{what} of carbon density, {first} to {last}: {pools}", DENSITY_UNITS),
            (-SPREAD_SHARE * high, SPREAD_SHARE * high),
        ),
        SD: (
            Layer(SD, f"standard deviation of the {what} of carbon density", DENSITY_UNITS),
            (0.0, SPREAD_SHARE * high),
        ),
        SIGNIFICANT: (
            Layer(
                SIGNIFICANT,
                f"significant {what} of carbon density: 0 none, 1 loss, 2 gain",
                "1",
                "uint8",
                UNKNOWN,
                "MODE",
                CHANGE_COLOURS,
            ),
            None,
        ),
    }
    base = common.provenance(
        origin,
        region=region,
        profile=tags["CARBONMAP_PROFILE"],
        pools=pools,
        model=tags["CARBONMAP_MODEL"],
        model_sha256=marks[0]["report"]["model_sha256"],
        before=first,
        after=last,
    )
    stem = f"{region}_{first}_{last}"
    return {
        name: MapFile(out / f"{stem}_{name}.tif", grid, layer, base, last, ends)
        for name, (layer, ends) in layers.items()
    }


def _tile(
    before: Path, after: Path, error: ChangeError, tile: Tile
) -> Mapping[str, Raster | Ints] | None:
    """Every map's part in one tile; None where no pixel has both dates."""
    first, last = (lattice.read_on_grid(path, tile.grid, "map") for path in (before, after))
    change = last.astype(np.float64) - first
    if not np.isfinite(change).any():
        return None
    return {
        NAME: change,
        SD: error.deviation(first, last),
        SIGNIFICANT: error.significant(first, last),
    }
