"""Archive and maps as lazy xarray Datasets; dask's owner outside the stages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import dask.array as da
import numpy as np
import rioxarray  # registers the .rio accessor that users of these Datasets expect
import xarray as xr

from carbonmap.dates import in_period
from carbonmap.errors import GridMismatch, MissingInput, nearest
from carbonmap.grid import Grid
from carbonmap.io import files, maps, store

__all__ = ["open_map", "open_stack", "stack_grid"]

CHUNKS_PER_BLOCK = 2
"""Zarr chunks per dask chunk along each axis: 16 MB blocks, few enough tasks for a province."""


def open_stack(archive: str | Path, region: str, dates: Sequence[str] | None = None) -> xr.Dataset:
    """A region's layers as one lazy Dataset.

    Args:
        archive: the archive folder.
        region: its name there.
        dates: months (``2020-02``), days or ranges (``2020-02/2020-06``); None takes every image.

    Returns:
        ``image`` with dimensions ``(time, band, y, x)``, and ``elevation`` and ``canopy_height``
        with ``(y, x)``, those of them that were ingested; float32, NaN where nothing was measured,
        with units, names and ``spatial_ref``. Nothing is read yet.

    Raises:
        MissingInput: no such archive, region or date.
        GridMismatch: the layers lie on different grids.
        CorruptData: when a damaged chunk is read.
    """
    found = _layers(Path(archive), region)
    grid = _one_grid(found)
    images = [(p, i) for p, i in found if i.date is not None]
    if dates is not None:
        images = [(p, i) for p, i in images if any(in_period(str(i.date), d) for d in dates)]
        if not images:
            have = ", ".join(str(i.date) for _, i in found if i.date) or "none"
            raise MissingInput(
                f"region {region!r} has no image of {', '.join(dates)}; images there: {have}; run "
                f"`carbonmap ingest image --date …` first"
            )
    variables = {i.kind: (("y", "x"), _dask(p, i), _attrs(i)) for p, i in found if i.date is None}
    data = xr.Dataset(variables, coords={"y": grid.y, "x": grid.x})
    if images:
        data["image"] = _images(images)
    data = data.rio.write_crs(grid.crs).rio.write_transform(grid.transform)
    for axis in ("y", "x"):
        data[axis].attrs.update(units="m", standard_name=f"projection_{axis}_coordinate")
    described: xr.Dataset = data.assign_attrs(region=region, carbonmap_grid=str(grid))
    return described


def stack_grid(archive: str | Path, region: str) -> Grid:
    """The grid on which a region was ingested."""
    return _one_grid(_layers(Path(archive), region))


def _layers(archive: Path, region: str) -> list[tuple[Path, store.LayerInfo]]:
    found = store.layers(archive, region)
    if not found:
        here = [p.parent.parent.name for p in archive.glob("*/*/layer.json")]
        hint = nearest(region, here) if here else "it holds no layer at all"
        raise MissingInput(
            f"archive {str(archive)!r} has no region {region!r}; {hint}; run `carbonmap ingest` "
            f"first"
        )
    return found


def _one_grid(found: list[tuple[Path, store.LayerInfo]]) -> Grid:
    first = found[0][1]
    for _, info in found:
        if info.grid != first.grid:
            raise GridMismatch(f"layer {info.name}", got=info.grid, want=first.grid)
    return first.grid


def _dask(path: Path, info: store.LayerInfo) -> da.Array:
    array = store.open_array(path / "data.zarr", info.kind)
    edges = array.chunks[-2:]
    chunks = (*array.chunks[:-2], *(e * CHUNKS_PER_BLOCK for e in edges))
    name = f"{info.name}-{files.sha256(path / 'layer.json')}"
    return da.from_array(array, chunks=chunks, name=name)  # type: ignore[no-any-return, no-untyped-call]


def _attrs(info: store.LayerInfo) -> dict[str, str]:
    return {"units": info.units, "long_name": info.long_name}


def _images(images: list[tuple[Path, store.LayerInfo]]) -> xr.DataArray:
    bands = list(images[0][1].bands)
    stacks = []
    for path, info in images:
        if sorted(info.bands) != sorted(bands):
            raise MissingInput(
                f"image of {info.date} has bands {', '.join(info.bands)} and that of "
                f"{images[0][1].date} has {', '.join(bands)}; open them by --dates one at a time"
            )
        stacks.append(_dask(path, info)[[info.bands.index(b) for b in bands]])
    times = np.array([info.date for _, info in images], dtype="datetime64[ns]")
    return xr.DataArray(
        da.stack(stacks),  # type: ignore[no-untyped-call]
        dims=("time", "band", "y", "x"),
        coords={"time": times, "band": bands},
        attrs=_attrs(images[0][1]),
    )


def open_map(path: str | Path) -> xr.Dataset:
    """A finished map as a lazy Dataset, its variable named by the band description.

    Returns:
        One variable ``(y, x)``, or ``(time, y, x)`` where the map has a date, with ``units``,
        ``long_name`` and ``spatial_ref``; NaN where there is no data.

    Raises:
        MissingInput: no such map, or it was never finished.
    """
    found = files.existing(path, "map")
    maps.require_whole(found, by_size=True)
    data = rioxarray.open_rasterio(found, chunks={"x": 2048, "y": 2048}, masked=True)
    assert isinstance(data, xr.DataArray)
    head = maps.describe(found)
    data = data.squeeze("band", drop=True).rename(head["name"])
    data.attrs = {"units": head["units"], "long_name": head["long_name"]}
    if head["date"]:
        data = data.expand_dims(time=[np.datetime64(head["date"], "ns")])
    return data.to_dataset().assign_attrs(head["tags"])
