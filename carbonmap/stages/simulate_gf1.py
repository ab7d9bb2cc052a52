"""Scenes of a simulated county as GF-1 WFV L1A products, to try the way in from the archive."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from carbonmap import config, progress
from carbonmap import crs as crs_
from carbonmap.calibration import calibrate
from carbonmap.grid import Grid
from carbonmap.io import files, output
from carbonmap.io.gf1_writer import product_files, write_product
from carbonmap.io.output import Existing
from carbonmap.landscape.camera import camera_over
from carbonmap.landscape.county import County
from carbonmap.landscape.product import Counts, Shot, county_shot
from carbonmap.landscape.rpc_fit import fit_rpc
from carbonmap.settings import STRICT
from carbonmap.stages import common
from carbonmap.stages.common import Report
from carbonmap.types import Json

MARK = "gf1.json"

BLOCK_PX = 1000
"""Edge of the blocks that a scene is drawn in: its land takes some 250 MB."""

BYTES_PER_PIXEL = 8
"""Four bands of 16 bits, not compressed."""

Pixels = Annotated[int, Field(ge=2, le=32_768)]


@dataclass(frozen=True, config=STRICT)
class Scenes:
    """Which products are made of a county.

    Args:
        lines: rows of each image; real scenes have 12,000 to 13,800.
        samples: columns; real ones have 12,000.
        sensor: WFV1, WFV2, WFV3 or WFV4.
        months: of the county's images, ``YYYY-MM``; none means all.
        archive: write ``.tar.gz`` files and not folders.
    """

    lines: Pixels = 12_000
    samples: Pixels = 12_000
    sensor: str = "WFV3"
    months: tuple[str, ...] = ()
    archive: bool = False


def simulate_gf1(
    folder: Path,
    grid: Grid,
    county: County,
    scenes: Scenes,
    *,
    existing: Existing = Existing.REFUSE,
) -> Report:
    """Write a county's images as products, each with the place in its middle.

    Products that an interrupted run finished are kept.

    Args:
        folder: where; each product in a folder, or an archive, of its name.
        grid: the county's; scenes may reach beyond it, since its land is endless.
        county: the settings that everything follows from.
        scenes: size, sensor and months.
        existing: what to do about products of other settings.
    """
    origin: Json = {
        "stage": "simulate_gf1",
        "grid": grid.to_json(),
        "county": dataclasses.asdict(county),
        "scenes": dataclasses.asdict(scenes),
    }
    shots = [_shot(month, grid, county, scenes) for month in _months(county, scenes)]
    with output.claim(folder / MARK, origin, existing) as work:
        if work is None:
            return Report(f"{folder} is up to date", {"gf1": str(folder), "state": "up to date"})
        size = BYTES_PER_PIXEL * scenes.lines * scenes.samples
        files.require_space(work.mark, size * len(shots))
        work.begin_publishing()
        made = list[Path]()
        for shot in shots:
            if not _is_done(folder, work.done.get(shot.name, {})):
                product = write_shot(folder, shot, archive=scenes.archive)
                sizes = {_below(p, folder): p.stat().st_size for p in product_files(product)}
                work.record(shot.name, {"sizes": sizes})
            made += [folder / name for name in work.done[shot.name]["sizes"]]
        facts: Json = {"gf1": str(folder), "products": [shot.name for shot in shots]}
        work.finish(made, facts)
        _remove_empty(folder)
    names = ", ".join(shot.name for shot in shots)
    return Report(f"{folder}: {scenes.lines}×{scenes.samples} px, {names}", facts)


def write_shot(
    folder: Path, shot: Shot, *, archive: bool = False, workers: int = common.WORKERS
) -> Path:
    """Take one scene and write it as a product, whole or not at all.

    Args:
        folder: in which the product's own folder is made.
        shot: the scene.
        archive: write a ``.tar.gz`` instead.
        workers: blocks drawn at a time; the product does not depend on it, the memory does.

    Returns:
        The product.
    """
    strips = _strips(shot, workers)
    return write_product(folder, shot, fit_rpc(shot.camera), strips, archive=archive)


def _strips(shot: Shot, workers: int) -> Iterator[Counts]:
    """The image in strips of the blocks' height, each whole from left to right."""
    lines, samples = shot.camera.lines, shot.camera.samples
    across = range(0, samples, BLOCK_PX)
    blocks = [
        (slice(line, min(line + BLOCK_PX, lines)), slice(sample, min(sample + BLOCK_PX, samples)))
        for line in range(0, lines, BLOCK_PX)
        for sample in across
    ]
    drawn = common.ahead(shot.counts, blocks, workers)
    strip = list[Counts]()
    for block in progress.track(drawn, f"drawing {shot.name}", len(blocks)):
        strip.append(block)
        if len(strip) == len(across):
            yield np.concatenate(strip, axis=2)
            strip.clear()


def _months(county: County, scenes: Scenes) -> list[str]:
    """The months asked for, in order of time and each once.

    Raises:
        ConfigError: the county has no image of one of them.
    """
    wanted = {county.season(month).month for month in scenes.months}
    return [one.month for one in county.seasons if not wanted or one.month in wanted]


def _shot(month: str, grid: Grid, county: County, scenes: Scenes) -> Shot:
    """The scene of a month over the county's middle, as the sensor was calibrated that year."""
    left, bottom, right, top = grid.bounds
    x, y = np.array([(left + right) / 2]), np.array([(bottom + top) / 2])
    lon, lat = (float(at[0]) for at in crs_.transform_points(grid.crs, "EPSG:4326", x, y))
    camera = camera_over(lon, lat, scenes.sensor, scenes.lines, scenes.samples)
    calibration = calibrate(config.builtin("gf1_wfv"), scenes.sensor, int(month[:4]))
    return county_shot(camera, grid, county, month, calibration)


def _is_done(folder: Path, facts: Json) -> bool:
    """Whether the files of a product that was finished before still have their sizes."""
    sizes = facts.get("sizes", {})
    paths = {folder / name: size for name, size in sizes.items()}
    return bool(paths) and all(p.is_file() and p.stat().st_size == n for p, n in paths.items())


def _remove_empty(folder: Path) -> None:
    """Remove what is left of the products of other settings once their files are gone."""
    for path in folder.glob("GF1_*"):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def _below(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()
