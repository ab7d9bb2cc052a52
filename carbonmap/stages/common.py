"""What every stage does around its own work: provenance, tiles with a journal, maps, reports."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import xarray as xr

from carbonmap import progress
from carbonmap.errors import GridMismatch, MissingInput, ModelError
from carbonmap.grid import Grid
from carbonmap.io import files, maps, raster, stands, vector
from carbonmap.io.cog import Sums
from carbonmap.io.maps import MapFile
from carbonmap.io.output import Work
from carbonmap.lazy import open_stack, stack_grid
from carbonmap.project import Project
from carbonmap.regions import Region, region_grid
from carbonmap.tiles import Tile, tiles
from carbonmap.types import Json, Raster

TILE_PX = 1024
"""Edge of a tile of work. Fixed, since sums over tiles round by tile: a setting would change maps
in the last bit. 4 MB a layer and thread."""

BYTES_PER_PIXEL = 4.0
"""What a pixel of a float32 map may take on the disk, tile and finished map each."""


@dataclass(frozen=True)
class Report:
    """What a stage tells when it ends.

    Args:
        text: for people.
        data: the same for programs (``--json``).
        incomplete: something was skipped under ``--keep-going``; the command then exits 3.
    """

    text: str
    data: Json = field(default_factory=dict)
    incomplete: bool = False

    def __str__(self) -> str:
        return self.text


def digest(value: object) -> str:
    """SHA-256 of plain values, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def provenance(origin: Json, **more: str) -> dict[str, str]:
    """Tags by which a map tells where it came from.

    No time of day is among them, so that the same inputs give the same bytes; the sidecar's own
    date tells when.
    """
    release = version("carbonmap")
    return {
        "TIFFTAG_SOFTWARE": f"carbonmap {release}",
        "CARBONMAP_VERSION": release,
        "CARBONMAP_ORIGIN_SHA256": digest(origin),
    } | {f"CARBONMAP_{key.upper()}": value for key, value in more.items()}


Layer = np.ndarray[tuple[int, int], np.dtype[Any]]
"""One map's part of a tile, ``(row, col)``."""

Layers = Mapping[str, Layer]

WORKERS = 2
"""Tiles under way at a time: one waits for the disk or a lock while the other computes."""


@dataclass(frozen=True)
class Written:
    """What one map's tiles hold.

    Args:
        sums: of its valid pixels.
        tonnes: Σ value × pixel area, which for a density in Mg C/ha is the map's t C.
    """

    sums: Sums
    tonnes: float

    def to_json(self) -> Json:
        """Plain values for the journal."""
        return {"sums": self.sums.to_json(), "tonnes": self.tonnes}


def compute_tiles(
    grid: Grid,
    made: Mapping[str, MapFile],
    work: Work,
    compute: Callable[[Tile], Layers | None],
    what: str,
    workers: int = WORKERS,
) -> dict[str, Written]:
    """Compute and write every tile that an earlier run did not finish.

    Args:
        grid: all of it.
        made: the maps by name.
        work: the claimed output.
        compute: one tile to one array a map, or None where it holds nothing.
        what: shown while it runs.
        workers: tiles computed at a time; the maps do not depend on it, the memory does.

    Returns:
        What each map holds, added up in the order of the tiles.
    """
    todo = list(tiles(grid, TILE_PX))
    left = [tile for tile in todo if tile.name not in work.done]

    def one(tile: Tile) -> tuple[str, Json]:
        layers = compute(tile)
        if layers is None:
            return tile.name, {"empty": True}
        return tile.name, {
            "maps": {n: _write_tile(m, layers[n], tile, work) for n, m in made.items()}
        }

    for name, facts in progress.track(_ahead(one, left, workers), what, len(left)):
        work.record(name, facts)
    full = [work.done[t.name]["maps"] for t in _full(todo, work)]
    return {
        name: Written(
            sum((Sums.from_json(f[name]["sums"]) for f in full), Sums()),
            sum(f[name]["tonnes"] for f in full),
        )
        for name in made
    }


def _ahead(
    one: Callable[[Tile], tuple[str, Json]], left: Sequence[Tile], workers: int
) -> Iterator[tuple[str, Json]]:
    """What `one` gives for every tile, in order, at most `workers` tiles in memory at a time.

    What fails stops the rest: tiles under way end, later ones are never begun.
    """
    with ThreadPoolExecutor(workers) as pool:
        under_way: deque[Future[tuple[str, Json]]] = deque()
        for tile in left:
            under_way.append(pool.submit(one, tile))
            if len(under_way) == workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


def _write_tile(one: MapFile, layer: Layer, tile: Tile, work: Work) -> Json:
    """Write one map's tile and say what it holds."""
    data = np.asarray(layer, dtype=one.layer.dtype)
    raster.write_tile(one.tile(work, tile.name), data, tile.grid, one.layer.nodata)
    weighed = 0.0
    if data.dtype.kind == "f":
        weighed = float(np.nansum(data * tile.grid.pixel_area_ha(), dtype=np.float64))
    return Written(Sums.of(data, one.layer.nodata), weighed).to_json()


def _full(todo: Sequence[Tile], work: Work) -> list[Tile]:
    """The tiles that hold something."""
    return [t for t in todo if not work.done[t.name].get("empty")]


def write_maps(
    grid: Grid,
    made: Mapping[str, MapFile],
    work: Work,
    written: Mapping[str, Written],
    threads: int | None,
) -> list[Path]:
    """Join the tiles of every map; the files still lack the mark that declares them whole."""
    parts = {t.name: t.grid for t in _full(list(tiles(grid, TILE_PX)), work)}
    products = []
    work.begin_publishing()
    for name, one in progress.track(made.items(), "writing maps", len(made)):
        sums = written[name].sums
        products += maps.write_map(one, parts, sums, work, threads or raster.cpu_threads())
    return products


def require_space(folder: Path, grid: Grid, count: int) -> None:
    """Refuse a run whose maps the disk cannot hold: tiles, maps and their overviews together."""
    files.require_space(folder, int(2.5 * BYTES_PER_PIXEL * grid.size * count))


def one_image(archive: Path, region: str, dates: Sequence[str]) -> tuple[xr.Dataset, str]:
    """The stack with the single image that the dates select, and its day.

    Raises:
        MissingInput: they select none, or several.
    """
    stack = open_stack(archive, region, dates)
    days = [str(t)[:10] for t in stack["time"].values]
    if len(days) > 1:
        raise MissingInput(
            f"{', '.join(dates)} selects {len(days)} images of {region!r} ({', '.join(days)}); "
            f"name "
            f"one by its day, as in --dates {days[0]}"
        )
    return stack, days[0]


def require_layers(stack: xr.Dataset, names: Sequence[str]) -> None:
    """Refuse to start without the layers that the work reads.

    Raises:
        MissingInput: one was never ingested.
    """
    commands = {"elevation": "dem", "canopy_height": "canopy-height", "image": "image"}
    for name in names:
        if name not in stack:
            raise MissingInput(
                f"region {stack.attrs['region']!r} has no {name.replace('_', ' ')} in the archive; "
                f"run `carbonmap ingest {commands[name]} …` first"
            )


def layer_hashes(archive: Path, region: str, names: Sequence[str]) -> Json:
    """By which the archive's layers are known again: their marks, which hold every chunk's hash."""
    return {name: files.sha256(archive / region / name / "layer.json") for name in names}


def grid_of(region: Region) -> Grid:
    """The grid of a region, its boundary file read where it has one."""
    if region.boundary is None:
        return region_grid(region)
    return region_grid(region, stands.read_boundary(region.boundary, region.crs).bounds)


def region_of(project: Project, name: str | None) -> tuple[str, Grid]:
    """Name and grid of the region that a command works on."""
    region = project.find_region(name)
    return region.name, grid_of(region)


def outline_of(project: Project, name: str) -> shapely.Geometry:
    """The land of a region in its grid's CRS: its boundary, or the grid's box where it has none."""
    region = project.find_region(name)
    if region.boundary is None:
        return shapely.box(*grid_of(region).bounds)
    return stands.read_boundary(region.boundary, region.crs)


def require_grid(project: Project, name: str, grid: Grid) -> None:
    """Refuse to work where the project's region no longer is the one that was ingested.

    Raises:
        GridMismatch: the archive's layers lie on another grid.
    """
    held = stack_grid(project.archive, name)
    if held != grid:
        raise GridMismatch(f"archive region {name!r}", got=held, want=grid)


def region_json(project: Project, name: str, grid: Grid) -> Json:
    """A region as output remembers it: its grid, and its boundary's content."""
    boundary = project.find_region(name).boundary
    held = None if boundary is None else vector.hash_inputs(boundary)
    return {"name": name, "grid": grid.to_json(), "boundary": held}


def image_days(archive: Path, region: str, dates: Sequence[str]) -> list[str]:
    """Days of the images that the dates select.

    Raises:
        MissingInput: a date selects none, or two images would be one month's map.
    """
    for period in dates:
        open_stack(archive, region, [period])
    days = [str(t)[:10] for t in open_stack(archive, region, dates)["time"].values]
    months = [day[:7] for day in days]
    twice = sorted({m for m in months if months.count(m) > 1})
    if twice:
        both = [d for d in days if d[:7] in twice]
        raise MissingInput(
            f"{', '.join(dates)} selects several images of one month ({', '.join(both)}), and a "
            f"map "
            f"is named by its month; name one of them by its day"
        )
    return days


def require_model_layers(stack: xr.Dataset, layers: Sequence[str]) -> list[str]:
    """Names of the archive's layers behind what a model reads.

    Raises:
        MissingInput: one was never ingested.
        ModelError: the image lacks a band.
    """
    known = ("elevation", "canopy_height")
    bands = [name for name in layers if name not in known]
    names = ["image"] if bands else []
    names += [name for name in layers if name in known]
    require_layers(stack, names)
    if bands:
        have = [str(b) for b in stack["band"].values]
        if lost := [b for b in bands if b not in have]:
            raise ModelError(
                f"the model reads band {', '.join(lost)}, and the image has {', '.join(have)}; "
                f"ingest "
                f"it with all bands"
            )
    return names


def read_layers(
    stack: xr.Dataset, grid: Grid, part: Grid, layers: Sequence[str], halo: int
) -> dict[str, Raster]:
    """Layers of a tile and the land around it, NaN beyond the region.

    Args:
        stack: the region's layers with one image.
        grid: the region's.
        part: the tile's.
        layers: bands of the image, ``elevation`` or ``canopy_height``.
        halo: pixels around the tile.

    Returns:
        By name, each of the shape of ``part.padded(halo)``.
    """
    wide = part.padded(halo)
    held = wide.intersection(grid)
    assert held is not None  # a tile lies in its region
    rows, cols = grid.roi_of(held)
    near = stack.isel(y=rows, x=cols)
    found = {}
    for name in layers:
        source = near[name] if name in near else near["image"].isel(time=0).sel(band=name)
        out = np.full(wide.shape, np.nan, dtype=np.float32)
        out[wide.roi_of(held)] = source.values
        found[name] = out
    return found


def error_line(judged: Json) -> str:
    """Errors in one line, as `metrics.Errors.to_json` gives them."""
    if not judged["pixels"]:
        return "no pixel to compare"
    figures = (
        f"RMSE {judged['rmse_mg_c_ha']:.2f}, MAE {judged['mae_mg_c_ha']:.2f}, "
        f"bias {judged['bias_mg_c_ha']:+.2f} Mg C/ha"
    )
    more = (("R² {:.3f}", "r2"), ("PSNR {:.2f} dB", "psnr_db"), ("SSIM {:.3f}", "ssim"))
    told = [text.format(judged[key]) for text, key in more if judged.get(key) is not None]
    return ", ".join([figures, *told]) + f", {judged['pixels']:,} pixels"
