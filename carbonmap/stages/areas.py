"""Areas on a map, and a walk over its tiles that adds up what each of them holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn, Protocol, Self, TypeVar

import numpy as np
import shapely

from carbonmap import progress
from carbonmap.correlation import Cells
from carbonmap.coverage import polygon_coverage
from carbonmap.errors import InputError
from carbonmap.grid import Grid
from carbonmap.io import mosaic
from carbonmap.io.raster import Source
from carbonmap.stages.common import TILE_PX
from carbonmap.stages.mask import CLASSES
from carbonmap.tiles import tiles
from carbonmap.types import Floats, Json

MOST_CLASSES = 256
"""Codes of a class map; more are measurements, not classes."""


@dataclass(frozen=True)
class AreaFile:
    """A vector file of areas.

    Args:
        path: Shapefile, GeoPackage or GeoParquet.
        field: that names them; polygons of one name are one area.
        layer: of a GeoPackage with several.
        encoding: of a Shapefile's text.
        crs: of a file that states none.
    """

    path: Path
    field: str
    layer: str | None = None
    encoding: str | None = None
    crs: str | None = None


@dataclass(frozen=True)
class Area:
    """Land whose pixels are added up.

    Args:
        kind: "map", "area" or "class".
        name: of the area.
        grid: pixels that it may lie on.
        share_on_map: of its land.
    """

    kind: str
    name: str
    grid: Grid
    share_on_map: float = 1.0


@dataclass(frozen=True)
class Rasters:
    """What a tile holds: a dataclass of arrays ``(row, col)``, of which a part can be taken."""

    def __getitem__(self, roi: tuple[slice, slice]) -> Self:
        """The part at some rows and columns."""
        return type(self)(*(getattr(self, one.name)[roi] for one in fields(self)))


Held = TypeVar("Held", bound=Rasters)

HeldIn = TypeVar("HeldIn", bound=Rasters, contravariant=True)


class Adder(Protocol[HeldIn]):
    """Sums of an area that take in tiles."""

    def add(self, tile: Grid, share: Floats, held: HeldIn) -> None:
        """Take in a tile.

        Args:
            tile: part of the area's grid.
            share: of each pixel that belongs to the area, ``(row, col)``.
            held: of the same pixels.
        """


Adds = TypeVar("Adds", bound=Adder[Any])


@dataclass
class Weights:
    """What pixels' errors are multiplied by in a sum: Σ by cell, and Σ of squares."""

    sums: Floats
    squares: float = 0.0

    def add(self, cells: Cells, tile: Grid, weight: Floats) -> None:
        """Take in a tile's pixels."""
        cells.add(self.sums, tile, weight)
        self.squares += float(np.square(weight).sum())

    @property
    def parts(self) -> tuple[Floats, float]:
        """As `correlation.deviation` takes them."""
        return self.sums, self.squares


def added(
    grid: Grid,
    read: Callable[[Grid], Held],
    begin: Callable[[Area], Adds],
    outlines: Mapping[str, Any],
    classes: Sequence[Source],
    folder: Path,
) -> list[Adds]:
    """The whole map, then every area on it, then every class, tile by tile.

    Args:
        grid: of the map.
        read: a tile of what is to be added.
        begin: the empty sums of an area.
        outlines: of areas by name, in the grid's CRS.
        classes: files of a class raster; none for no classes.
        folder: for what joining them needs.

    Raises:
        InputError: the class raster has too many codes to be one.
    """
    whole, places = begin(Area("map", "whole map", grid)), _named(outlines, grid)
    named = [begin(one) for one in places]
    shapes = np.array([outlines[one.name] for one in places], dtype=object)
    codes: dict[int, Adds] = {}
    plan = mosaic.join(classes, grid, folder, CLASSES) if classes else None
    todo = list(tiles(grid, TILE_PX))
    for tile in progress.track(todo, "adding up", len(todo)):
        held = read(tile.grid)
        whole.add(tile.grid, np.ones(tile.grid.shape), held)
        for place, share in _covered(shapes, tile.grid):
            part = places[place].grid.intersection(tile.grid)
            if part is None:  # of a pixel's millionth, which its grid forgives
                continue
            roi = tile.grid.roi_of(part)
            named[place].add(part, share[roi], held[roi])
        if plan is not None:
            for code, share in _coded(plan.read(tile.grid)):
                if code not in codes:
                    _require_few(codes, code)
                    codes[code] = begin(Area("class", str(code), grid))
                codes[code].add(tile.grid, share, held)
    return [whole, *named, *(codes[code] for code in sorted(codes))]


def _named(outlines: Mapping[str, Any], grid: Grid) -> list[Area]:
    """The areas that lie on the map."""
    box, found = shapely.box(*grid.bounds), []
    for name, outline in outlines.items():
        inside = shapely.intersection(outline, box)
        if shapely.area(inside) > 0:
            near = Grid.covering(inside.bounds, grid.crs, grid.pixel_m, grid.anchor)
            near = near.intersection(grid) or grid
            share = shapely.area(inside) / shapely.area(outline)
            found.append(Area("area", name, near, share))
    return found


def _covered(shapes: Any, grid: Grid) -> Iterator[tuple[int, Floats]]:
    """The areas on a tile, and the share of each pixel that is theirs."""
    if not len(shapes):
        return
    cover = polygon_coverage(shapes, grid)
    for place in np.unique(cover.stand):
        here = cover.stand == place
        share = np.zeros(grid.size)
        share[cover.cell[here]] = cover.fraction[here]
        yield int(place), share.reshape(grid.shape)


def _coded(codes: Floats) -> Iterator[tuple[int, Floats]]:
    """The classes on a tile, and where they are."""
    found = np.unique(codes[np.isfinite(codes)])
    if len(found) > MOST_CLASSES:
        _refuse(found.tolist())
    for code in found:
        yield int(code), (codes == code).astype(np.float64)


def _require_few(codes: Mapping[int, object], code: int) -> None:
    if len(codes) >= MOST_CLASSES:
        _refuse([*sorted(codes)[:3], code])


def _refuse(codes: Sequence[float]) -> NoReturn:
    raise InputError(
        f"the class raster has more than {MOST_CLASSES} codes ({', '.join(map(str, codes[:4]))} "
        f"…): a measurement, not a class map"
    )


def outlines_of(areas: AreaFile | None, grid: Grid) -> dict[str, Any]:
    """Of the areas by name, in a map's CRS; none of no file.

    Raises:
        InputError: it cannot be used, or its areas lie elsewhere.
    """
    if areas is None:
        return {}
    from carbonmap.io import stands

    found = stands.read_areas(
        areas.path,
        areas.field,
        grid.crs,
        layer=areas.layer,
        encoding=areas.encoding,
        assume_crs=areas.crs,
    )
    box = shapely.box(*grid.bounds)
    if not any(shapely.area(shapely.intersection(one, box)) for one in found.values()):
        raise InputError(
            f"areas {str(areas.path)!r} lie nowhere on the map, which covers {grid}; see their CRS"
        )
    return found


def described(areas: AreaFile | None) -> Json | None:
    """By which the areas of a file are known again."""
    if areas is None:
        return None
    from carbonmap.io import vector

    how = {"field": areas.field, "layer": areas.layer, "crs": areas.crs}
    return {**vector.hash_inputs(areas.path), **how, "encoding": areas.encoding}
