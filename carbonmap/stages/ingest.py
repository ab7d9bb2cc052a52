"""Ingest: a user's rasters, warped onto a region's grid and kept in the archive."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from carbonmap import progress
from carbonmap.cores import cpu_threads
from carbonmap.dates import check_day
from carbonmap.errors import GridMismatch, InputError
from carbonmap.features import BANDS
from carbonmap.grid import Grid
from carbonmap.io import files, mosaic, naming, output, raster, stac, store
from carbonmap.io.mosaic import Mosaic
from carbonmap.io.output import Existing
from carbonmap.io.raster import ByResolution, Source
from carbonmap.io.store import LayerInfo
from carbonmap.settings import STRICT
from carbonmap.stages.common import Report, ahead, require_space
from carbonmap.types import Json, Raster


@settings(frozen=True, config=STRICT)
class Warping:
    """How values are read and brought onto the grid.

    Args:
        nodata: stored value that means nothing was measured, NaN too; None takes each file's own
            tag.
        resampling: nearest, bilinear, cubic or average; None averages sources that are finer than
            the grid, by the rule of their kind, and interpolates others bilinearly.
        scale: multiplies values, after the scale and offset that a file's own tags state.
        offset: is added after that.
    """

    nodata: Annotated[float, Field(allow_inf_nan=True)] | None = None
    resampling: str | None = None
    scale: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        if self.scale == 0:
            raise ValueError("`scale` is 0, which makes every value the same; give another")


@dataclass(frozen=True)
class Kind:
    """A kind of layer: its words, the values that can be true, and how it changes resolution."""

    name: str
    long_name: str
    units: str
    low: float
    high: float
    hint: str
    resampling: ByResolution = field(default_factory=ByResolution)


KINDS = {
    "dem": Kind(
        "elevation",
        "elevation",
        "m",
        -500.0,  # the Dead Sea's shore is at -430 m
        9000.0,  # Everest is 8,849 m high
        "a nodata code read as a height",
    ),
    "canopy-height": Kind(
        "canopy_height",
        "mean canopy height",
        "m",
        0.0,
        120.0,  # the tallest tree known is 116 m high
        "a nodata code read as a height; ETH's tiles use 255",
        ByResolution(times=1.0),  # the mean of the valid heights in a pixel
    ),
    "image": Kind("image", "image", "1", -np.inf, np.inf, "a nodata code read as a value"),
}


def ingest_image(
    archive: Path,
    region: str,
    grid: Grid,
    bands: Mapping[str, Sequence[Source]],
    date: str,
    warping: Warping,
    *,
    existing: Existing = Existing.REFUSE,
    threads: int | None = None,
) -> Report:
    """One date's bands into the archive.

    Args:
        archive: its folder.
        region: name of the region.
        grid: the region's.
        bands: files by band name, in the order that the layer will have.
        date: the day of the image, ``YYYY-MM-DD``.
        warping: how to read the files.
        existing: what to do about a layer made from other files or settings.
        threads: blocks under way at a time; None takes every core.

    Raises:
        InputError: two bands are one, or a file cannot be what it is said to be.
    """
    scaled = (warping.scale, warping.offset) != (1.0, 0.0)
    title = "reflectance" if scaled else "values as the files state them"
    info = LayerInfo(
        "image", grid, tuple(bands), "1", title, check_day(date), warping.scale, warping.offset
    )
    sources = list(bands.values())
    read = [tuple((s.path.resolve(), s.band) for s in group) for group in sources]
    if twice := [name for name, one in zip(bands, read, strict=True) if read.count(one) > 1]:
        raise InputError(
            f"--bands: {' and '.join(twice)} are one band of one file; give each its own, as in "
            f"red=image.tif:3,nir=image.tif:4"
        )
    return _ingest(archive, region, info, sources, KINDS["image"], warping, existing, threads)


def ingest_layer(
    archive: Path,
    region: str,
    grid: Grid,
    kind: str,
    sources: Sequence[Source],
    warping: Warping,
    *,
    heights: str | None = None,
    existing: Existing = Existing.REFUSE,
    threads: int | None = None,
) -> Report:
    """A static layer (``dem``, ``canopy-height``) from one file or many into the archive.

    Of `sources`, some may be folders, in which files are known by their names. `heights` tells what
    a DEM's heights are over, ``ellipsoid`` or ``geoid``; None goes by the names of its files.

    Raises:
        MissingInput: a folder holds no file of a known name.
        InputError: a file cannot be what it is said to be, or heights are over several datums.
    """
    what = KINDS[kind]
    sources = [
        replace(source, path=path)
        for source in sources
        for path in naming.find(kind, [source.path])
    ]
    vertical, note = naming.vertical(kind, [s.path for s in sources], heights)
    info = LayerInfo(
        what.name, grid, (), what.units, what.long_name, None, warping.scale, warping.offset,
        vertical,
    )  # fmt: skip
    return _ingest(archive, region, info, [sources], what, warping, existing, threads, note)


def _ingest(
    archive: Path,
    region: str,
    info: LayerInfo,
    sources: Sequence[Sequence[Source]],
    kind: Kind,
    warping: Warping,
    existing: Existing,
    threads: int | None,
    note: str | None = None,
) -> Report:
    sources = [[Source(s.path, s.band, _nodata(s, warping)) for s in group] for group in sources]
    notes = sorted({n for group in sources for s in group if (n := raster.check_source(s))})
    if note:
        notes.append(note)
    if kind.name == "image" and (lost := [b for b in BANDS if b not in info.bands]):
        notes.append(f"without {', '.join(lost)} no model can be trained on this image")
    _same_grid(archive, region, info)
    folder = archive / region / info.name
    with output.claim(folder / "layer.json", _origin(info, sources, warping), existing) as work:
        if work is None:
            stac.refresh(archive)  # a run may have been killed before it came to this
            lines = [f"{folder} is up to date", *_unrecorded(archive, region, info)]
            return Report("\n".join(lines), {"layer": info.name, "state": "up to date"})
        require_space(work, info.grid, max(1, len(info.bands)))
        facts = _fill(work, info, sources, kind, warping, threads or cpu_threads())
        work.begin_publishing()
        data = folder / "data.zarr"
        replace_folder(work.folder / "data.zarr", data)
        shares = facts["valid_share"]
        report: Json = {"layer": info.to_json(), "notes": notes, **facts}
        work.finish([p for p in sorted(data.rglob("*")) if p.is_file()], report)
    stac.refresh(archive)
    covered = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
    lines = [f"{folder}: {info.grid}", f"covered: {covered}", *notes]
    return Report("\n".join(lines), {"state": "written", "path": str(folder), **report})


def _nodata(source: Source, warping: Warping) -> float | None:
    return source.nodata if warping.nodata is None else warping.nodata


def _origin(info: LayerInfo, sources: Sequence[Sequence[Source]], warping: Warping) -> Json:
    named = naming.verticals([s.path for group in sources for s in group])
    if named == {info.vertical}:  # what names tell, the sources below hold
        info = replace(info, vertical=None)
    return {
        "layer": info.to_json(),
        "resampling": warping.resampling,
        "sources": [[raster.describe_source(s) for s in group] for group in sources],
    }


def _unrecorded(archive: Path, region: str, info: LayerInfo) -> list[str]:
    """That a finished layer does not tell a vertical datum which is known by now."""
    held = next(i for _, i in store.layers(archive, region) if i.name == info.name)
    if held.vertical == info.vertical:
        return []
    return [f"it does not record its heights' datum, {info.vertical}; --overwrite makes it do so"]


def _same_grid(archive: Path, region: str, info: LayerInfo) -> None:
    """Refuse a layer on another grid than the region's others."""
    for path, other in store.layers(archive, region):
        if other.grid != info.grid and other.name != info.name:
            raise GridMismatch(
                f"region {region!r} of the project",
                got=info.grid,
                want=f"{other.grid}, on which {str(path)!r} lies",
                todo=f"name the new region otherwise, or delete {str(archive / region)!r} and "
                f"ingest all its layers anew",
            )


def _fill(
    work: output.Work,
    info: LayerInfo,
    sources: Sequence[Sequence[Source]],
    kind: Kind,
    warping: Warping,
    threads: int,
) -> Json:
    """Warp every block that an earlier run did not finish into the store."""
    path = work.folder / "data.zarr"
    array = store.create(path, info)
    rule = warping.resampling or kind.resampling
    plan = [
        mosaic.join(group, info.grid, work.folder / f"band{number}", rule)
        for number, group in enumerate(sources)
    ]
    blocks = [
        (number, roi)
        for number in range(len(plan))
        for roi in store.chunk_rois(array.shape, array.chunks)
    ]
    todo = [b for b in blocks if not _is_done(work, path / info.kind, _block_name(*b))]

    def one(block: tuple[int, tuple[slice, slice]]) -> tuple[str, Json]:
        return _block(array, path / info.kind, info, plan[block[0]], block, kind, warping)

    done = ahead(one, todo, threads)
    for name, facts in progress.track(done, f"ingesting {info.name}", len(todo)):
        work.record(name, facts)
    return _coverage(work, info, plan)


def _coverage(work: output.Work, info: LayerInfo, plan: Sequence[Mosaic]) -> Json:
    """The share of the grid that each band's data cover; a layer that covers nothing is refused."""
    names = info.bands or (info.kind,)
    shares = {}
    for number, name in enumerate(names):
        valid = sum(f["valid"] for key, f in work.done.items() if key.startswith(f"b{number}r"))
        if not valid:
            raise InputError(
                f"{name}: its files hold no data inside the region ({info.grid}); check the files, "
                f"the region's bounds and --nodata"
            )
        shares[name] = valid / info.grid.size
    return {"valid_share": shares, "resampling": [[g.resampling for g in m.groups] for m in plan]}


def _block_name(number: int, roi: tuple[slice, slice]) -> str:
    return f"b{number}r{roi[0].start}c{roi[1].start}"


def _is_done(work: output.Work, folder: Path, name: str) -> bool:
    """Whether a block's chunk is still what the journal says was written."""
    facts = work.done.get(name)
    if facts is None:
        return False
    chunk = folder / facts["chunk"]
    return chunk.is_file() and files.crc32(chunk) == int(facts["crc32"])


def _block(
    array: store.Array,
    folder: Path,
    info: LayerInfo,
    source: Mosaic,
    block: tuple[int, tuple[slice, slice]],
    kind: Kind,
    warping: Warping,
) -> tuple[str, Json]:
    number, roi = block
    data = source.read(info.grid[roi])
    if (warping.scale, warping.offset) != (1.0, 0.0):
        data = (data.astype(np.float64) * warping.scale + warping.offset).astype(np.float32)
    _require_plausible(data, kind)
    with files.writing(folder):
        key = store.write_block(array, number if info.bands else None, roi, data)
        files.sync_file(folder / key)
    facts = {
        "chunk": key,
        "crc32": files.crc32(folder / key),
        "valid": int(np.isfinite(data).sum()),
    }
    return _block_name(number, roi), facts


def _require_plausible(data: Raster, kind: Kind) -> None:
    """Refuse values that cannot be true before they become weights and features.

    Raises:
        InputError: some value lies outside what the kind of layer can hold.
    """
    good = data[np.isfinite(data)]
    if good.size and (good.min() < kind.low or good.max() > kind.high):
        raise InputError(
            f"{kind.long_name} runs from {good.min():g} to {good.max():g} {kind.units}, and only "
            f"{kind.low:g} to {kind.high:g} can be true: probably {kind.hint}; give --nodata "
            f"VALUE, or "
            f"--scale where it is not in {kind.units}"
        )


def replace_folder(new: Path, final: Path) -> None:
    """Put a finished folder in the place of an older one, all of it on the disk before."""
    with files.writing(final):
        files.sync_tree(new)
        if final.exists():
            shutil.rmtree(final)
        new.replace(final)
        files.sync_folder(final.parent)
