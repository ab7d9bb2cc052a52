"""Finished maps: the COG, its style, its STAC item and the sidecar that declares it whole."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pystac
import rasterio

from carbonmap import crs as crs_
from carbonmap.errors import CorruptData, MissingInput
from carbonmap.grid import Grid
from carbonmap.io import cog, files, output, raster, stac, style
from carbonmap.io.cog import Layer, Sums
from carbonmap.types import Json, Raster

MEDIA_TYPE = "image/tiff; application=geotiff; profile=cloud-optimized"

DENSITY_UNITS = "Mg C ha-1"
"""Megagrams of carbon per hectare, in CF's spelling."""


@dataclass(frozen=True)
class MapFile:
    """Everything that one map needs to be written from its tiles.

    Args:
        final: the map's file, ``.tif``.
        grid: all of it.
        layer: what it holds.
        tags: provenance, plain text by key.
        date: ``YYYY-MM`` or ``YYYY-MM-DD``; None where it has none.
        style_range: ends of the colour ramp in the layer's units; None for no style.
        catalogued: whether a STAC item lies beside it.
    """

    final: Path
    grid: Grid
    layer: Layer
    tags: Mapping[str, str]
    date: str | None = None
    style_range: tuple[float, float] | None = None
    catalogued: bool = True

    def tile(self, work: output.Work, name: str) -> Path:
        """Where a tile of this map lies until the map is joined."""
        return work.folder / self.final.stem / f"{name}.tif"


def write_map(
    made: MapFile, tiles: Mapping[str, Grid], sums: Sums, work: output.Work, threads: int
) -> list[Path]:
    """Join a map's tiles and write what belongs beside it, the style before the item.

    Returns:
        The files, the map first; the mark that declares them whole is the caller's.
    """
    parts = [(made.tile(work, name), grid) for name, grid in tiles.items()]
    tags = {"CARBONMAP_UNITS": made.layer.units, **made.tags}
    if made.date:
        tags["CARBONMAP_DATE"] = made.date
    cog.write_cog(parts, made.grid, made.layer, tags, sums, made.final, work.folder, threads)
    written = [made.final]
    if made.style_range is not None:
        written.append(style.write_qml(made.final, *made.style_range, made.layer.units))
    if made.catalogued:
        written.append(write_stac(made))
    return written


def write_stac(made: MapFile) -> Path:
    """The STAC item beside a map."""
    path = made.final.with_suffix(".stac.json")
    band: Json = {"name": made.layer.name, "unit": made.layer.units, "data_type": made.layer.dtype}
    band["nodata"] = "nan" if math.isnan(made.layer.nodata) else made.layer.nodata
    asset = pystac.Asset(
        href=f"./{made.final.name}",
        title=made.layer.long_name,
        media_type=MEDIA_TYPE,
        roles=["data"],
        extra_fields={"bands": [band]},
    )
    properties = {
        f"carbonmap:{k.removeprefix('CARBONMAP_').lower()}": v for k, v in made.tags.items()
    }
    stac.write_item(
        path, stac.item(made.final.stem, made.grid, made.date, properties, {"map": asset})
    )
    return path


def sidecar(made: MapFile, sums: Sums) -> Json:
    """What the mark says of the map."""
    return {
        "map": made.final.name,
        "band": made.layer.name,
        "units": made.layer.units,
        "grid": made.grid.to_json(),
        "date": made.date,
        "tags": dict(made.tags),
        "valid_pixels": sums.to_json(),
    }


def mark_of(path: Path) -> Path:
    """The sidecar that declares a map whole."""
    return path.with_suffix(".json")


def write_sidecar(made: MapFile, sums: Sums, origin: Json) -> Path:
    """The mark of one map that is part of a larger output."""
    path = mark_of(made.final)
    held = {made.final.name: files.describe(made.final)}
    output.write_mark(path, origin, held, sidecar(made, sums))
    return path


def require_whole(path: Path, *, by_size: bool = False) -> Json:
    """The sidecar of a finished map.

    Args:
        path: the map.
        by_size: be content with its size, where reading it all would cost more than its use.

    Raises:
        MissingInput: there is no such map, or its run never ended.
        CorruptData: its bytes are not those that were written.
    """
    files.existing(path, "map")
    held = files.read_json(mark_of(path))
    if held is None:
        raise MissingInput(
            f"map {str(path)!r} is incomplete (it has no {mark_of(path).name}); run the command "
            f"that makes it to its end"
            if is_ours(path)
            else f"{str(path)!r} was not made by carbonmap; give a map that its commands wrote"
        )
    if wrong := output.damaged(mark_of(path), by_size=by_size):
        raise CorruptData(
            f"map {str(path)!r}: {', '.join(wrong)} gone or changed since it was written; make it "
            f"again with --overwrite"
        )
    return held


def is_ours(path: Path) -> bool:
    """Whether a GeoTIFF says that carbonmap made it."""
    return "CARBONMAP_VERSION" in describe(path)["tags"]


def describe(path: Path) -> Json:
    """Name, long name, units, date and tags of a map, from the file itself."""
    with raster.open_geotiff(path, "map") as source:
        tags = source.tags()
        return {
            "name": source.descriptions[0] or "map",
            "long_name": source.tags(1).get("long_name", ""),
            "units": source.units[0] or "",
            "date": tags.get("CARBONMAP_DATE"),
            "tags": tags,
        }


def map_grid(path: Path) -> Grid:
    """The grid of a finished map, from its sidecar, on the project's lattice."""
    value = require_whole(path, by_size=True)["report"]["grid"]
    return Grid(**value | {"anchor": tuple(value["anchor"])})


def overview(path: Path, most: int = 1200) -> tuple[Raster, tuple[float, float, float, float], str]:
    """A map at the first of its overviews that has at most `most` pixels along its longer side.

    Returns:
        Values with NaN for nodata, the map's bounds, and its CRS.
    """
    with raster.environment(), rasterio.open(path, driver="GTiff") as source:
        bounds, crs = tuple(source.bounds), crs_.canonical(source.crs.to_wkt())
        factors = source.overviews(1)
        wanted = max(source.shape) / most
        level = next((k for k, factor in enumerate(factors) if factor >= wanted), len(factors) - 1)
    chosen = {} if wanted <= 1 or not factors else {"OVERVIEW_LEVEL": level}
    with raster.environment(), rasterio.open(path, driver="GTiff", **chosen) as small:
        data = small.read(1, masked=True)
    return data.astype(np.float32).filled(np.nan), bounds, crs


def resampled(
    path: Path, bounds: tuple[float, float, float, float], shape: tuple[int, ...]
) -> Raster:
    """A raster of the same CRS at the pixels of a small picture, nearest, NaN for nodata."""
    left, bottom, right, top = bounds
    with raster.open_geotiff(path) as source:
        window = rasterio.windows.from_bounds(left, bottom, right, top, source.transform)
        data = source.read(1, window=window, out_shape=shape, boundless=True, masked=True)
    values: Raster = data.astype(np.float32).filled(np.nan)
    return values
