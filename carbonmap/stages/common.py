"""What every stage does around its own work: provenance, tiles with a journal, maps, reports."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from carbonmap import progress
from carbonmap.cores import cpu_threads
from carbonmap.grid import Grid
from carbonmap.io import files, maps, raster
from carbonmap.io.cog import Sums
from carbonmap.io.maps import MapFile
from carbonmap.io.output import Work
from carbonmap.tiles import Tile, tiles
from carbonmap.types import Json

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

    No time of day is among them, so that the same inputs give the same bytes; the file's own date
    on the disk tells when.
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


Elsewhere = Callable[[Sequence[Tile]], Iterator[tuple[str, Json]]]
"""Tiles computed and written by other processes, as `compute_tile` does here, in any order."""


def compute_tile(
    work: Work, made: Mapping[str, MapFile], compute: Callable[[Tile], Layers | None], tile: Tile
) -> tuple[str, Json]:
    """Compute and write a tile of every map: its name, and what the journal is to hold of it."""
    layers = compute(tile)
    if layers is None:
        return tile.name, {"empty": True}
    return tile.name, {"maps": {n: _write_tile(m, layers[n], tile, work) for n, m in made.items()}}


def compute_tiles(
    grid: Grid,
    made: Mapping[str, MapFile],
    work: Work,
    compute: Callable[[Tile], Layers | None],
    what: str,
    workers: int = WORKERS,
    stop: Callable[[], None] | None = None,
    elsewhere: Elsewhere | None = None,
) -> dict[str, Written]:
    """Compute and write every tile that an earlier run did not finish.

    Args:
        grid: all of it.
        made: the maps by name.
        work: the claimed output.
        compute: one tile to one array a map, or None where it holds nothing.
        what: shown while it runs.
        workers: tiles computed at a time; the maps do not depend on it, the memory does.
        stop: as of `ahead`.
        elsewhere: other processes, instead of this one.

    Returns:
        What each map holds, added up in the order of the tiles.
    """
    todo = list(tiles(grid, TILE_PX))
    left = [tile for tile in todo if not _is_done(work, made, tile)]
    here = partial(compute_tile, work, made, compute)
    done = elsewhere(left) if elsewhere else ahead(here, left, workers, stop)
    for name, facts in progress.track(done, what, len(left)):
        work.record(name, facts)
    full = [work.done[t.name]["maps"] for t in _full(todo, work)]
    return {
        name: Written(
            sum((Sums.from_json(f[name]["sums"]) for f in full), Sums()),
            sum(f[name]["tonnes"] for f in full),
        )
        for name in made
    }


Part = TypeVar("Part")

Result = TypeVar("Result")


def ahead(
    one: Callable[[Part], Result],
    left: Sequence[Part],
    workers: int,
    stop: Callable[[], None] | None = None,
) -> Iterator[Result]:
    """What `one` gives for every part, in order, at most `workers` parts in memory at a time.

    What fails or interrupts stops the rest: parts under way end, later ones are never begun.

    Args:
        one: of a part.
        left: the parts.
        workers: parts at a time.
        stop: called before parts under way are waited for, so that long ones can end early.
    """
    with ThreadPoolExecutor(workers) as pool:
        under_way: deque[Future[Result]] = deque()
        try:
            for part in left:
                under_way.append(pool.submit(one, part))
                if len(under_way) == workers:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        except BaseException:
            if stop is not None:
                stop()
            raise


def _write_tile(one: MapFile, layer: Layer, tile: Tile, work: Work) -> Json:
    """Write one map's tile and say what it holds."""
    data = np.asarray(layer, dtype=one.layer.dtype)
    crc32 = raster.write_tile(one.tile(work, tile.name), data, tile.grid, one.layer.nodata)
    sums, weighed = Sums.of(data, one.layer.nodata), 0.0
    if data.dtype.kind == "f":
        area = tile.grid.pixel_area_ha()
        even = area.size == 1
        weighed = sums.total * float(area[0, 0]) if even else float(np.nansum(data * area))
    return {**Written(sums, weighed).to_json(), "crc32": crc32}


def _is_done(work: Work, made: Mapping[str, MapFile], tile: Tile) -> bool:
    """Whether a tile's files are still what the journal says was written."""
    facts = work.done.get(tile.name)
    if facts is None or facts.get("empty"):
        return facts is not None
    paths = {name: one.tile(work, tile.name) for name, one in made.items()}
    return all(
        path.is_file() and files.crc32(path) == facts["maps"][name]["crc32"]
        for name, path in paths.items()
    )


def _full(todo: Sequence[Tile], work: Work) -> list[Tile]:
    """The tiles that hold something."""
    return [t for t in todo if not work.done[t.name].get("empty")]


def skipped(grid: Grid, work: Work) -> Json:
    """How many tiles there are, and how many of them hold nothing and were left out."""
    todo = list(tiles(grid, TILE_PX))
    return {"all": len(todo), "skipped": len(todo) - len(_full(todo, work))}


def write_maps(
    grid: Grid,
    made: Mapping[str, MapFile],
    work: Work,
    written: Mapping[str, Written],
    threads: int | None,
) -> list[Path]:
    """Join the tiles of every map; the files still lack the mark that declares them whole."""
    parts = {t.name: t.grid for t in _full(list(tiles(grid, TILE_PX)), work)}
    cores = threads or cpu_threads()
    work.begin_publishing()

    def one(item: tuple[str, MapFile]) -> list[Path]:
        name, made_map = item
        return maps.write_map(made_map, parts, written[name].sums, work, cores)

    # one map is read back while the next is compressed
    done = ahead(one, list(made.items()), min(WORKERS, cores))
    return [p for products in progress.track(done, "writing maps", len(made)) for p in products]


def require_space(work: Work, grid: Grid, count: int, more: int = 0) -> None:
    """Refuse a run whose maps the disk cannot hold: tiles, maps and their overviews, twice.

    What an interrupted run has finished is there already.

    Args:
        work: the claimed output.
        grid: the maps'.
        count: of maps.
        more: bytes that the run keeps besides.
    """
    finished = sum(p.stat().st_size for p in work.folder.rglob("*") if p.is_file())
    files.require_space(work.mark, max(map_bytes(grid, count) + more - finished, 0))


def map_bytes(grid: Grid, count: int) -> int:
    """What so many maps take at most while they are made: tiles, maps, overviews, twice."""
    return int(2.7 * BYTES_PER_PIXEL * grid.size * count)


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
