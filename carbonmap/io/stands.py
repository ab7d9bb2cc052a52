"""A forest inventory, read and checked: stands on the grid's CRS, and all that was wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from carbonmap import crs as crs_
from carbonmap.errors import InputError, LabelError
from carbonmap.findings import Findings, Kind, Problem, listed
from carbonmap.grid import Grid
from carbonmap.inventory import check_areas, check_volumes, id_text, unique_ids
from carbonmap.io import vector
from carbonmap.outlines import (
    Outlines,
    Overlaps,
    check_outlines,
    check_overlaps,
    check_repeated,
    find_overlaps,
    placed,
)
from carbonmap.place import check_place
from carbonmap.types import Bool, Plots

HECTARE = 1e4
"""m²."""

BOUNDARY = vector.Told(
    file="boundary",
    layer="boundary_layer in its [region] table, or init --boundary-layer",
    crs="boundary_crs in its [region] table, or init --boundary-crs",
    land="region's outline",
)
"""How a user answers questions about a boundary file."""

AREAS = vector.Told("areas", "--areas-layer", "--areas-crs", land="outlines of areas")

RESERVED = ("id", "growing_stock", "area_ha", "inventory_area_ha", "species", "geometry")
"""Columns of the stands that a group field's name must not take."""


@dataclass(frozen=True)
class Fields:
    """What an inventory calls its fields.

    Args:
        volume: growing stock, m³/ha.
        id: the stand's id; None numbers the rows.
        area: the stand's area as stated, ha; compared, never used.
        species: what a profile's strata are chosen by.
        groups: fields by which totals are broken down.
    """

    volume: str
    id: str | None = None
    area: str | None = None
    species: str | None = None
    groups: tuple[str, ...] = ()

    def names(self) -> tuple[str, ...]:
        """Every field that is wanted, once."""
        wanted = (self.volume, self.id, self.area, self.species, *self.groups)
        return tuple(dict.fromkeys(name for name in wanted if name is not None))


@dataclass(frozen=True)
class Inventory:
    """The stands of an inventory, checked, on the grid's CRS.

    Args:
        stands: columns ``id``, ``growing_stock`` (m³/ha, NaN unknown), ``area_ha`` (measured on the
            ellipsoid), ``inventory_area_ha`` (as stated, NaN missing), ``species`` and the group
            fields as text, ``geometry`` (valid polygons); rows in the file's order.
        problems: all that was found, repaired or not.
        notes: what a user should know besides.
        overlaps: pairs of rows of `stands` with the ground they share, ha, borders included.
        dropped: ids of the stands that were left out.
    """

    stands: vector.Frame
    problems: tuple[Problem, ...]
    notes: tuple[str, ...]
    overlaps: Overlaps
    dropped: tuple[str, ...]


def read_inventory(
    path: str | Path,
    fields: Fields,
    grid: Grid,
    *,
    layer: str | None = None,
    encoding: str | None = None,
    assume_crs: str | None = None,
    nodata: Sequence[float] = (),
    keep_going: bool = False,
) -> Inventory:
    """Read a forest inventory and check everything about it that can spoil a carbon map.

    Args:
        path: Shapefile, GeoPackage or GeoParquet.
        fields: what its fields are called.
        grid: the project's grid; stands are brought to its CRS.
        layer: of a GeoPackage with several.
        encoding: of a Shapefile's text, such as GBK.
        assume_crs: CRS of a file that states none.
        nodata: volumes that mean "unknown".
        keep_going: leave out the stands whose problems cannot be repaired, instead of stopping.
            Of a repeated polygon the first stays; overlapping stands stay.

    Raises:
        MissingInput: there is no such file, or a part of the Shapefile is missing.
        InputError: it is of another kind, damaged, unreadable text, has no CRS, lacks a field, or
            lies elsewhere.
        GridError: its datum is an old Chinese one.
        LabelError: it has problems that carbonmap cannot repair, all in one message.
    """
    name = Path(path).name
    table = vector.read_table(
        path, fields.names(), layer=layer, encoding=encoding, assume_crs=assume_crs
    )
    count = len(table.outlines)
    if not count:
        raise LabelError(f"inventory {name!r} holds no stands")
    ids, found = unique_ids(None if fields.id is None else list(table.columns[fields.id]), count)
    found.notes.extend(table.notes)
    if note := crs_.datum_note(table.crs):
        found.notes.append(note)
    volume = check_volumes(table.columns[fields.volume], fields.volume, found, nodata)
    outlines = check_outlines(table.outlines, found)
    usable = ~shapely.is_missing(outlines)
    if usable.any():
        check_place(shapely.bounds(outlines[usable]), table.crs, grid, name)
    check_repeated(outlines, volume, found)
    area, on_grid = _on_grid(outlines, table.crs, grid, found)
    overlaps = _overlaps(outlines, area, found)
    stated = np.full(count, np.nan)
    if fields.area is not None:
        stated = check_areas(table.columns[fields.area], fields.area, area, found)
    keep = found.settle(name, keep_going=keep_going)
    columns = {"id": ids, "growing_stock": volume, "area_ha": area, "inventory_area_ha": stated}
    columns |= _texts(table, fields)
    stands = vector.frame(
        {key: values[keep] for key, values in columns.items()}, on_grid[keep], grid.crs
    )
    if not np.isfinite(volume[keep]).any():
        raise LabelError(f"inventory {name!r}: no stand has a known volume in {fields.volume}")
    return Inventory(
        stands,
        tuple(found.problems),
        tuple(dict.fromkeys(found.notes)),
        _renumbered(overlaps, keep),
        tuple(map(str, ids[~keep])),
    )


def _texts(table: vector.Table, fields: Fields) -> dict[str, NDArray[Any]]:
    """Species and group fields as text, "" where empty."""
    wanted = {name: name for name in fields.groups}
    if clash := sorted(set(RESERVED) & set(wanted)):
        raise InputError(
            f"group field {clash[0]!r} has a name that stands.parquet uses itself; rename it in "
            f"the inventory"
        )
    if fields.species is not None:
        wanted["species"] = fields.species
    return {
        key: np.array([id_text(v) for v in table.columns[name]], dtype=object)
        for key, name in wanted.items()
    }


def _on_grid(outlines: Outlines, crs: str, grid: Grid, found: Findings) -> tuple[Plots, Outlines]:
    """Areas on the ellipsoid, ha (NaN without outline), and the outlines in the grid's CRS."""
    on_grid = placed(outlines, crs, grid.crs, found)
    equal_area = crs_.local_equal_area(grid.crs, grid.bounds)
    measured = on_grid
    if equal_area != grid.crs:
        shown = outlines.copy()
        shown[shapely.is_missing(on_grid)] = None  # refused already
        measured = placed(shown, crs, equal_area, found)
    area = shapely.area(measured) / HECTARE
    return np.where(shapely.is_missing(measured), np.nan, area), on_grid


def _overlaps(outlines: Outlines, area_ha: Plots, found: Findings) -> Overlaps:
    """Overlaps between stands that have an outline of their own, ha.

    Found in the inventory's own coordinates, where borders that touch still touch exactly; an
    area there is turned into hectares by the smaller stand's own ratio.
    """
    single = outlines.copy()
    single[found.dropped] = None
    flat = find_overlaps(single)
    planar = shapely.area(single)
    smaller = np.where(planar[flat.first] < planar[flat.second], flat.first, flat.second)
    hectares = flat.area * area_ha[smaller] / planar[smaller]
    overlaps = Overlaps(flat.first, flat.second, hectares)
    check_overlaps(overlaps, area_ha, found)
    return overlaps


def _renumbered(overlaps: Overlaps, keep: Bool) -> Overlaps:
    """Pairs by their rows among the stands that stay."""
    row = np.cumsum(keep) - 1
    both = keep[overlaps.first] & keep[overlaps.second]
    return Overlaps(row[overlaps.first[both]], row[overlaps.second[both]], overlaps.area[both])


def read_boundary(
    path: str | Path, crs: str, *, layer: str | None = None, assume_crs: str | None = None
) -> Any:
    """The outline of a region as one geometry in a CRS: the union of a file's polygons.

    Args:
        path: Shapefile, GeoPackage or GeoParquet; of its attributes nothing is read.
        crs: of the outline that is wanted.
        layer: of a GeoPackage with several.
        assume_crs: CRS of a file that states none.

    Raises:
        MissingInput: as `read_inventory`, like the rest.
        InputError: as there, or the file holds no polygon, or one with broken coordinates.
        GridError: its datum is an old Chinese one.
    """
    table = vector.read_table(path, (), layer=layer, assume_crs=assume_crs, said=BOUNDARY)
    outlines = _land(path, table, crs, BOUNDARY)
    return shapely.union_all(outlines[~shapely.is_missing(outlines)])


def read_areas(
    path: str | Path,
    field: str,
    crs: str,
    *,
    layer: str | None = None,
    encoding: str | None = None,
    assume_crs: str | None = None,
) -> dict[str, Any]:
    """Outlines by name, such as counties: the union of the polygons that share one.

    Args:
        path: Shapefile, GeoPackage or GeoParquet.
        field: that holds the names.
        crs: of the outlines that are wanted.
        layer: of a GeoPackage with several.
        encoding: of a Shapefile's text.
        assume_crs: CRS of a file that states none.

    Returns:
        In the order in which names first come.

    Raises:
        MissingInput: as `read_inventory`, like the rest.
        InputError: as there, or a polygon has no name, or the file holds none.
        GridError: its datum is an old Chinese one.
    """
    table = vector.read_table(
        path, (field,), layer=layer, encoding=encoding, assume_crs=assume_crs, said=AREAS
    )
    outlines = _land(path, table, crs, AREAS)
    held = ~shapely.is_missing(outlines)
    names = np.array([id_text(value) for value in table.columns[field]], dtype=object)
    if lost := [str(i + 1) for i in np.flatnonzero(held & (names == ""))]:
        raise InputError(
            f"areas {str(path)!r}: record {listed(lost)} has no name in field {field!r}; name all"
        )
    order = dict.fromkeys(names[held])
    return {name: shapely.union_all(outlines[held & (names == name)]) for name in order}


def _land(path: str | Path, table: vector.Table, crs: str, said: vector.Told) -> Outlines:
    """The polygons of a file in a CRS, None where a record has none; all of them or an error.

    Raises:
        InputError: there is none, or one has broken coordinates: its land would be missing.
    """
    crs_.datum_note(table.crs)
    found = Findings(np.arange(len(table.outlines)).astype(object))
    outlines = check_outlines(table.outlines, found)
    outlines = placed(outlines, table.crs, crs, found)
    for problem in found.problems:
        if problem.kind is Kind.BROKEN_COORDINATES:
            rows = listed(f"{int(i) + 1}" for i in problem.ids)
            raise InputError(
                f"{said.file} {str(path)!r}: {problem.detail} (record {rows}); mend it"
            )
    if shapely.is_missing(outlines).all():
        raise InputError(f"{said.file} {str(path)!r} holds no polygon; give the {said.land}")
    return outlines
