"""What every stage does around its own work: provenance, tiles with a journal, maps, reports."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
import xarray as xr

from carbonmap import progress
from carbonmap.errors import MissingInput
from carbonmap.grid import Grid
from carbonmap.io import files, maps, raster
from carbonmap.io.cog import Sums
from carbonmap.io.maps import MapFile
from carbonmap.io.output import Existing, Work
from carbonmap.lazy import open_stack
from carbonmap.tiles import Tile, tiles
from carbonmap.types import Json


TILE_PX = 1024
"""Edge of a tile of work. Fixed, since sums over tiles round by tile: a setting would change maps in
the last bit. 4 MB a layer and thread."""

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


Layers = Mapping[str, np.ndarray[tuple[int, int], np.dtype[np.generic]]]


def compute_tiles(
    grid: Grid,
    made: Mapping[str, MapFile],
    work: Work,
    compute: Callable[[Tile], Layers | None],
    what: str,
) -> dict[str, Sums]:
    """Compute and write every tile that an earlier run did not finish.

    Args:
        grid: all of it.
        made: the maps by name.
        work: the claimed output.
        compute: one tile to one array a map, or None where it holds nothing.
        what: shown while it runs.

    Returns:
        What each map's valid pixels add up to, in the order of the tiles.
    """
    todo = list(tiles(grid, TILE_PX))
    for tile in progress.track(todo, what, len(todo)):
        if tile.name in work.done:
            continue
        layers = compute(tile)
        if layers is None:
            work.record(tile.name, {"empty": True})
            continue
        facts = {}
        for name, one in made.items():
            data = np.asarray(layers[name], dtype=one.layer.dtype)
            raster.write_tile(one.tile(work, tile.name), data, tile.grid, one.layer.nodata)
            facts[name] = Sums.of(data, one.layer.nodata).to_json()
        work.record(tile.name, {"sums": facts})
    return {
        name: sum(
            (Sums.from_json(work.done[t.name]["sums"][name]) for t in _full(todo, work)), Sums()
        )
        for name in made
    }


def _full(todo: Sequence[Tile], work: Work) -> list[Tile]:
    """The tiles that hold something."""
    return [t for t in todo if not work.done[t.name].get("empty")]


def write_maps(
    grid: Grid,
    made: Mapping[str, MapFile],
    work: Work,
    sums: Mapping[str, Sums],
    threads: int | None,
) -> list[Path]:
    """Join the tiles of every map; the files still lack the mark that declares them whole."""
    parts = {t.name: t.grid for t in _full(list(tiles(grid, TILE_PX)), work)}
    written = []
    work.begin_publishing()
    for name, one in progress.track(made.items(), "writing maps", len(made)):
        written += maps.write_map(one, parts, sums[name], work, threads or raster.cpu_threads())
    return written


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
            f"{', '.join(dates)} selects {len(days)} images of {region!r} ({', '.join(days)}); name "
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
