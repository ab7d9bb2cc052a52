"""Archive and maps as lazy xarray Datasets; dask's owner outside the stages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import dask.array as da
import numpy as np
import rioxarray  # registers the .rio accessor that users of these Datasets expect
import xarray as xr

from carbonmap import slopes
from carbonmap.composite import NO_SOURCE, Sources
from carbonmap.dates import in_period
from carbonmap.errors import GridMismatch, InputError, MissingInput, nearest
from carbonmap.grid import Grid
from carbonmap.io import composed, files, maps, scenes, store
from carbonmap.io.scenes import IMAGE, QUALITY, QUALITY_WORDS
from carbonmap.terrain import HALO_PX

__all__ = ["image_days", "open_map", "open_scene", "open_stack", "stack_grid"]

CHUNKS_PER_BLOCK = 2
"""Zarr chunks per dask chunk along each axis: 16 MB blocks, few enough tasks for a province."""

SCENE_ATTRS = (
    "id", "acquired", "sensor", "sun_zenith_deg", "sun_azimuth_deg", "view_zenith_deg",
    "view_azimuth_deg", "corrections",
)  # fmt: skip
"""What a Dataset tells of its scene."""


def open_stack(archive: str | Path, region: str, dates: Sequence[str] | None = None) -> xr.Dataset:
    """A region's layers as one lazy Dataset.

    Args:
        archive: the archive folder.
        region: its name there.
        dates: months (``2020-02``), days or ranges (``2020-02/2020-06``); None takes every image,
            and an empty sequence none.

    Returns:
        ``image`` with dimensions ``(time, band, y, x)``, and ``elevation`` and ``canopy_height``
        with ``(y, x)``, those of them that were ingested, and of the elevation ``slope``,
        ``aspect_sin`` and ``aspect_cos``; float32, NaN where nothing was measured, with units,
        names and ``spatial_ref``. Images of other bands than the first's are NaN in those that they
        lack. Where some image was composed of scenes, ``image_source`` (uint16) and
        ``image_quality`` (uint8) with ``(time, y, x)`` too: the number of each pixel's scene, whose
        id is ``image_source.attrs["scenes"][number]`` whatever the date, ``no_source`` in gaps;
        and why a pixel is not, or hardly, to be used, 0 where nothing speaks against it. Images
        that were not composed have no source, and 0. Nothing is read or computed yet.

    Raises:
        MissingInput: no such archive, region or date.
        GridMismatch: the layers lie on different grids.
        InputError: the images are of more scenes than can be numbered.
        CorruptData: when a damaged chunk is read.
    """
    found = _layers(Path(archive), region)
    grid = _one_grid(found)
    images = _images_of(found, region, dates)
    variables = {i.kind: (("y", "x"), _dask(p, i), _attrs(i)) for p, i in found if i.date is None}
    data = xr.Dataset(variables, coords={"y": grid.y, "x": grid.x})
    if "elevation" in data and min(grid.shape) >= slopes.LEAST_PX:
        data = data.assign(_terrain(data["elevation"].data, grid.pixel_m))
    if images:
        data["image"] = _image(images)
        data = data.assign(_lineage(images))
    return _placed(data, grid).assign_attrs(region=region, carbonmap_grid=str(grid))


def open_scene(archive: str | Path, region: str, scene_id: str) -> xr.Dataset:
    """One scene that `carbonmap ingest gf1` made, as a lazy Dataset.

    Args:
        archive: the archive folder.
        region: its name there.
        scene_id: the product's name, as the archive's folder of the scene has it.

    Returns:
        ``image``, the reflectance, float32 ``(band, y, x)``, NaN where nothing was measured; and
        ``quality``, uint8 ``(y, x)``, 0 where nothing speaks against a pixel, with CF's
        ``flag_masks`` and ``flag_meanings``; on the part of the region that the scene reaches, with
        ``spatial_ref``. Its attributes tell when, by which sensor and under which angles it was
        taken, and how its light was corrected. Nothing is read yet.

    Raises:
        MissingInput: no such archive, region or scene.
        CorruptData: a file of the scene is gone, or, when it is read, a chunk is damaged.
    """
    folder, info = _scene(Path(archive), region, scene_id)
    mark = files.sha256(folder / scenes.MARK)
    image, quality = (
        _chunked(array, f"{info.id}-{name}-{mark}")
        for array, name in zip(scenes.open_scene(folder), (IMAGE, QUALITY), strict=True)
    )
    words = {"units": "1", "long_name": info.long_name}
    data = xr.Dataset(
        {"image": (("band", "y", "x"), image, words), "quality": (("y", "x"), quality)},
        coords={"band": list(info.bands), "y": info.grid.y, "x": info.grid.x},
    )
    data["quality"].attrs.update(QUALITY_WORDS)
    told = {name: getattr(info, name) for name in SCENE_ATTRS}
    place = {"region": region, "carbonmap_grid": str(info.grid)}
    return _placed(data, info.grid).assign_attrs(told | place)


def _scene(archive: Path, region: str, scene_id: str) -> tuple[Path, scenes.SceneInfo]:
    """A finished scene by its id."""
    found = {info.id: (path, info) for path, info in scenes.scenes(archive, region)}
    if scene_id in found:
        return found[scene_id]
    if found:
        raise MissingInput(
            f"region {region!r} has no scene {scene_id!r}; {nearest(scene_id, found)}"
        )
    regions = {mark.parents[2].name for mark in archive.glob(f"*/{scenes.FOLDER}/*/{scenes.MARK}")}
    hint = nearest(region, regions) if regions else "none of its regions has any"
    raise MissingInput(
        f"archive {str(archive)!r} has no scene of a region {region!r}; {hint}; run `carbonmap "
        f"ingest gf1` first"
    )


def _placed(data: xr.Dataset, grid: Grid) -> xr.Dataset:
    """With the grid's coordinate reference system, and its axes described."""
    placed: xr.Dataset = data.rio.write_crs(grid.crs).rio.write_transform(grid.transform)
    for axis in ("y", "x"):
        placed[axis].attrs.update(units="m", standard_name=f"projection_{axis}_coordinate")
    return placed


def stack_grid(archive: str | Path, region: str) -> Grid:
    """The grid on which a region was ingested."""
    return _one_grid(_layers(Path(archive), region))


def image_days(archive: str | Path, region: str, dates: Sequence[str]) -> list[str]:
    """Days of the images that each of the dates selects, from the layers' marks alone.

    Raises:
        MissingInput: no such archive or region, or a date selects none.
    """
    found = _layers(Path(archive), region)
    return sorted({str(i.date) for d in dates for _, i in _images_of(found, region, [d])})


def _images_of(
    found: list[tuple[Path, store.LayerInfo]], region: str, dates: Sequence[str] | None
) -> list[tuple[Path, store.LayerInfo]]:
    """The images that the dates select."""
    images = [(p, i) for p, i in found if i.date is not None]
    if dates is None:
        return images
    chosen = [(p, i) for p, i in images if any(in_period(str(i.date), d) for d in dates)]
    if dates and not chosen:
        have = ", ".join(str(i.date) for _, i in images) or "none"
        raise MissingInput(
            f"region {region!r} has no image of {', '.join(dates)}; images there: {have}; run "
            f"`carbonmap ingest image --date …` first"
        )
    return chosen


def _layers(archive: Path, region: str) -> list[tuple[Path, store.LayerInfo]]:
    found = store.layers(archive, region)
    if not found:
        here = [p.parent.parent.name for p in archive.glob("*/*/layer.json")]
        hint = nearest(region, set(here)) if here else "it holds no layer at all"
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


def _dask(path: Path, info: store.LayerInfo, array_name: str | None = None) -> da.Array:
    """A layer's values, or another array of it."""
    array = store.open_array(path / "data.zarr", array_name or info.kind)
    return _chunked(
        array, f"{info.name}-{array_name or info.kind}-{files.sha256(path / 'layer.json')}"
    )


def _chunked(array: store.WholeArray, name: str) -> da.Array:
    """An array of the archive, whose name tells it from all others and other states of it."""
    edges = array.chunks[-2:]
    chunks = (*array.chunks[:-2], *(e * CHUNKS_PER_BLOCK for e in edges))
    return da.from_array(array, chunks=chunks, name=name)  # type: ignore[no-any-return, no-untyped-call]


def _terrain(elevation: da.Array, pixel_m: float) -> dict[str, xr.Variable]:
    """The terrain's layers, each block from its own elevation and a pixel around it."""
    return {
        name: xr.Variable(
            ("y", "x"),
            da.map_overlap(  # type: ignore[no-untyped-call]
                slope.of,
                elevation,
                pixel_m=pixel_m,
                depth=HALO_PX,
                boundary="none",  # at the region's edge the land goes on as Horn's plane does
                meta=np.empty((0, 0), np.float32),
            ),
            {"units": slope.units, "long_name": slope.long_name},
        )
        for name, slope in slopes.LAYERS.items()
    }


def _attrs(info: store.LayerInfo) -> dict[str, str]:
    named = {"units": info.units, "long_name": info.long_name}
    return named | ({"vertical_datum": info.vertical} if info.vertical else {})


def _image(images: list[tuple[Path, store.LayerInfo]]) -> xr.DataArray:
    infos = [info for _, info in images]
    bands = tuple(dict.fromkeys(band for info in infos for band in info.bands))
    times = np.array([info.date for info in infos], dtype="datetime64[ns]")
    applied = {
        "scale_applied": _one_or_all([info.scale for info in infos]),
        "offset_applied": _one_or_all([info.offset for info in infos]),
    }
    return xr.DataArray(
        da.stack([_bands(path, info, bands) for path, info in images]),  # type: ignore[no-untyped-call]
        dims=("time", "band", "y", "x"),
        coords={"time": times, "band": list(bands)},
        attrs=_attrs(infos[0]) | applied,
    )


def _bands(path: Path, info: store.LayerInfo, bands: tuple[str, ...]) -> da.Array:
    """One image's bands in the order asked for, NaN for those that it lacks."""
    held = _dask(path, info)
    if info.bands == bands:
        return held
    lost = da.full_like(held[0], np.nan)  # type: ignore[no-untyped-call]
    planes = [held[info.bands.index(b)] if b in info.bands else lost for b in bands]
    return da.stack(planes)  # type: ignore[no-any-return, no-untyped-call]


def _lineage(images: list[tuple[Path, store.LayerInfo]]) -> dict[str, xr.Variable]:
    """Source and quality of images that were composed of scenes; nothing where none was."""
    if not any(info.scenes for _, info in images):
        return {}
    ids = tuple(sorted({scene for _, info in images for scene in info.scenes}))
    if len(ids) >= NO_SOURCE:
        raise InputError(f"the images are of {len(ids):,} scenes; open fewer dates at a time")
    sources = [
        _source(p, i, ids) if i.scenes else _blank(i, np.uint16(NO_SOURCE)) for p, i in images
    ]
    qualities = [_dask(p, i, QUALITY) if i.scenes else _blank(i, np.uint8(0)) for p, i in images]
    dims = ("time", "y", "x")
    return {
        "image_source": xr.Variable(dims, da.stack(sources), composed.source_words(ids)),  # type: ignore[no-untyped-call]
        "image_quality": xr.Variable(dims, da.stack(qualities), QUALITY_WORDS),  # type: ignore[no-untyped-call]
    }


def _source(path: Path, info: store.LayerInfo, ids: tuple[str, ...]) -> da.Array:
    """An image's numbers of scenes, as the scenes of all images are numbered."""
    numbers = _dask(path, info, composed.SOURCE)
    if info.scenes == ids:
        return numbers
    table = _renumbered(info.scenes, ids)
    return da.map_blocks(lambda block: table[block], numbers, dtype=np.uint16)  # type: ignore[no-any-return, no-untyped-call]


def _blank(info: store.LayerInfo, value: np.generic) -> da.Array:
    """One value everywhere."""
    edge = store.CHUNK_PX * CHUNKS_PER_BLOCK
    return da.full(info.grid.shape, value, dtype=value.dtype, chunks=edge)  # type: ignore[no-any-return, no-untyped-call]


def _renumbered(ids: tuple[str, ...], every: tuple[str, ...]) -> Sources:
    """By an image's number of a scene, that among the scenes of all images."""
    table = np.full(NO_SOURCE + 1, NO_SOURCE, np.uint16)
    table[: len(ids)] = np.searchsorted(every, ids)
    return table


def _one_or_all(numbers: list[float]) -> float | list[float]:
    """The number that all images share, else each one's."""
    return numbers[0] if len(set(numbers)) == 1 else numbers


def open_map(path: str | Path) -> xr.Dataset:
    """A finished map as a lazy Dataset, its variable named by the band description.

    Returns:
        One variable ``(y, x)``, or ``(time, y, x)`` where the map has a date, with ``units``,
        ``long_name`` and ``spatial_ref``; NaN where there is no data.

    Raises:
        MissingInput: no such map, it was never finished, or it is a scene or layer of an archive.
    """
    _refuse_archived(Path(path))
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


def _refuse_archived(path: Path) -> None:
    """Say how to open what lies in an archive and is no map.

    Raises:
        MissingInput: the path is the folder of a scene or layer, or the store in it.
    """
    if not path.is_dir():
        return
    home = path.resolve()
    for folder in (home, home.parent):
        if (folder / scenes.MARK).is_file():
            archive, region = folder.parents[2], folder.parents[1].name
            call = f"open_scene({str(archive)!r}, {region!r}, {folder.name!r})"
            raise MissingInput(f"{str(path)!r} is a scene, no map; open it by carbonmap.{call}")
        if (folder / "layer.json").is_file():
            archive, region = folder.parents[1], folder.parent.name
            call = f"open_stack({str(archive)!r}, {region!r})"
            raise MissingInput(f"{str(path)!r} is a layer, no map; open it by carbonmap.{call}")
