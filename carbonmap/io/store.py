"""Layers of the archive: checksummed Zarr v3 stores in which a missing chunk is an error."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.abc.store import ByteRequest
from zarr.codecs import ZstdCodec
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore, WrapperStore

from carbonmap.errors import CarbonmapError, CorruptData
from carbonmap.grid import Grid
from carbonmap.io import files
from carbonmap.types import Floats, Ints, Json

CHUNK_PX = 1024
"""Edge of a chunk: 4 MB of float32, large enough to read fast, small enough to hold many; a
multiple of it from the lattice's anchor is a chunk border only where the region begins on one."""

Array = zarr.Array[Any]
"""An array of whatever zarr metadata."""

LEVEL = 3
"""zstd's own default level."""


@dataclass(frozen=True)
class LayerInfo:
    """One layer of a region.

    Args:
        kind: ``image``, ``elevation`` or ``canopy_height``; also the array's name.
        grid: the region's.
        bands: names of the first axis; empty for a layer of two axes.
        units: CF units.
        long_name: a phrase for people.
        date: ISO date of an image; None for a static layer.
        scale: by which the files' values were multiplied.
        offset: what was added after that.
        vertical: what elevations are measured from, ``ellipsoid`` or ``geoid``; None where nobody
            said, and for other layers.
        period: the month, day or range of days that an image was composed of; None for others.
        scenes: ids of the scenes that it was composed of, by the numbers in its `source` array.
    """

    kind: str
    grid: Grid
    bands: tuple[str, ...]
    units: str
    long_name: str
    date: str | None = None
    scale: float = 1.0
    offset: float = 0.0
    vertical: str | None = None
    period: str | None = None
    scenes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Folder of the layer within its region."""
        return f"{self.kind}_{self.date}" if self.date else self.kind

    @property
    def shape(self) -> tuple[int, ...]:
        """``(band, row, col)``, or ``(row, col)``."""
        return (len(self.bands), *self.grid.shape) if self.bands else self.grid.shape

    def to_json(self) -> Json:
        """Plain values for the mark."""
        plain: Json = {
            "kind": self.kind,
            "grid": self.grid.to_json(),
            "bands": list(self.bands),
            "units": self.units,
            "long_name": self.long_name,
            "date": self.date,
            "scale": self.scale,
            "offset": self.offset,
        }
        if self.period is not None:
            plain |= {"period": self.period, "scenes": list(self.scenes)}
        return plain | ({} if self.vertical is None else {"vertical": self.vertical})

    @classmethod
    def from_json(cls, value: Json) -> LayerInfo:
        """What `to_json` gave."""
        grid = Grid(**value["grid"] | {"anchor": tuple(value["grid"]["anchor"])})
        return cls(
            value["kind"],
            grid,
            tuple(value["bands"]),
            value["units"],
            value["long_name"],
            value["date"],
            value.get("scale", 1.0),  # marks of before they were remembered lack both
            value.get("offset", 0.0),
            value.get("vertical"),
            value.get("period"),
            tuple(value.get("scenes", ())),
        )


class WholeStore(WrapperStore[LocalStore]):
    """A store that never answers a missing chunk with the fill value.

    Zarr's specification says that a chunk which is not there holds the fill value; a lost file
    would pass for "no data". carbonmap writes every chunk, so one that is absent was lost.
    """

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """The bytes under a key.

        Raises:
            CorruptData: it is a chunk, and it is not there.
        """
        return self._require(key, await super().get(key, prototype, byte_range))

    def get_sync(self, key: str, **how: Any) -> Buffer | None:
        """As `get`, by the path that zarr 3.4 takes without an event loop."""
        return self._require(key, super().get_sync(key, **how))  # type: ignore[misc]

    def _require(self, key: str, value: Buffer | None) -> Buffer | None:
        if value is None and "/c/" in f"/{key}":
            raise CorruptData(
                f"{str(self._store.root)!r} has lost its chunk {key!r}; ingest the layer again "
                f"with "
                f"--overwrite"
            )
        return value


def create(path: Path, info: LayerInfo) -> Array:
    """An empty layer with its coordinates, or the one that an interrupted run began.

    Raises:
        WriteError: the disk is full or cannot be written.
    """
    return open_draft(path, lambda draft: draw_layer(draft, info), (info.kind,))[info.kind]


def open_draft(
    path: Path, draw: Callable[[Path], object], names: Sequence[str]
) -> dict[str, Array]:
    """Arrays to be filled, drawn now or by the run that was interrupted.

    What that one left is believed only where all but its chunks is as it would be drawn now, to the
    byte; else the store begins anew, and the caller's journal misses its chunks.

    Raises:
        WriteError: the disk is full or cannot be written.
    """
    with files.writing(path):
        draft = path.with_name(f".{path.name}.partial")
        shutil.rmtree(draft, ignore_errors=True)
        draw(draft)
        if not _is_drawn(path, draft):
            shutil.rmtree(path, ignore_errors=True)
            files.sync_tree(draft)
            draft.replace(path)
            files.sync_folder(path.parent)
        shutil.rmtree(draft, ignore_errors=True)
        for left in path.rglob("*.partial"):  # chunks that a killed run was writing
            left.unlink()
        with zarr.config.set({"array.write_empty_chunks": True}):  # not kept in the store itself
            group = zarr.open_group(path, mode="r+")
            return {name: _array(group, name) for name in names}


def _is_drawn(path: Path, draft: Path) -> bool:
    """Whether a store has all that an empty one has, byte for byte."""
    wanted = {p: path / p.relative_to(draft) for p in draft.rglob("*") if p.is_file()}
    return all(p.is_file() and p.read_bytes() == new.read_bytes() for new, p in wanted.items())


def draw_layer(path: Path, info: LayerInfo) -> zarr.Group:
    """Everything of a layer but its chunks."""
    group = zarr.open_group(path, mode="w", zarr_format=3)
    words = {"units": info.units, "long_name": info.long_name}
    draw_array(group, info.kind, info.shape, "float32", np.nan, words)
    draw_axes(group, info.grid)
    return group


def draw_array(
    group: zarr.Group,
    name: str,
    shape: tuple[int, ...],
    dtype: str,
    fill: float,
    words: Json,
    edge: int | None = None,
) -> None:
    """An array of a layer, ``(row, col)`` or ``(band, row, col)``, without its chunks.

    Chunks have `CHUNK_PX` along their edges, or as many as `edge` says.
    """
    edge = edge or CHUNK_PX
    group.create_array(
        name,
        shape=shape,
        chunks=tuple(min(c, n) for c, n in zip((1, edge, edge)[-len(shape) :], shape, strict=True)),
        dtype=dtype,
        fill_value=fill,
        compressors=[ZstdCodec(level=LEVEL, checksum=True)],
        dimension_names=("band", "y", "x")[-len(shape) :],
        attributes={**words, "grid_mapping": "spatial_ref"},
    )


def draw_axes(group: zarr.Group, grid: Grid) -> None:
    """Coordinates of the pixels, and the CRS."""
    for name, values in (("y", grid.y), ("x", grid.x)):
        axis = group.create_array(name, data=values, dimension_names=(name,))
        axis.attrs.update({"units": "m", "standard_name": f"projection_{name}_coordinate"})
    reference = group.create_array("spatial_ref", shape=(), dtype="int64", fill_value=0)
    reference.attrs.update(
        {"crs_wkt": grid.crs, "GeoTransform": " ".join(map(repr, grid.transform.to_gdal()))}
    )


def _array(group: zarr.Group, name: str) -> Array:
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise KeyError(name)
    return array


def write_block(
    array: Array, band: int | None, roi: tuple[slice, slice], data: Floats | Ints
) -> str:
    """Write one whole chunk and return its key, a path within the array's folder.

    Raises:
        ValueError: the block is not exactly one chunk; a part of one would be lost in a race.
    """
    edges = array.chunks[-2:]
    place = [s.start // e for s, e in zip(roi, edges, strict=True)]
    for span, edge, size in zip(roi, edges, array.shape[-2:], strict=True):
        if span.start % edge or span.stop != min(span.start + edge, size):
            raise ValueError(f"block {roi} is not one chunk of {edges} of an array {array.shape}")
    if band is None:
        array[roi] = data
        return "c/" + "/".join(map(str, place))
    array[(band, *roi)] = data
    return "c/" + "/".join(map(str, (band, *place)))


@dataclass(frozen=True)
class WholeArray:
    """A finished layer for reading, sliced as an array is; damage raises and is named."""

    path: Path
    array: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """``(band, row, col)``, or ``(row, col)``."""
        return self.array.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.array.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values."""
        return np.dtype(self.array.dtype)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Edges of a chunk."""
        return self.array.chunks

    def __getitem__(self, key: Any) -> Any:
        with _reading(self.path):
            return self.array[key]


def open_array(path: Path, kind: str) -> WholeArray:
    """A finished layer for reading.

    Raises:
        CorruptData: it cannot be opened; when it is read: a chunk is gone or fails its checksum.
    """
    with _reading(path):
        group = zarr.open_group(WholeStore(LocalStore(path, read_only=True)), mode="r")
        return WholeArray(path, _array(group, kind))


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what zarr and its codecs say of damage into a sentence that names the layer.

    Raises:
        CorruptData: something below failed.
    """
    try:
        yield
    except CarbonmapError:
        raise
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        raise CorruptData(
            f"layer {str(path)!r} is damaged: {error}; ingest it again with --overwrite"
        ) from error


def layers(archive: Path, region: str) -> list[tuple[Path, LayerInfo]]:
    """The finished layers of a region, by name."""
    found = []
    for mark in sorted((archive / region).glob("*/layer.json")):
        held = files.read_json(mark)
        if held is not None:
            found.append((mark.parent, LayerInfo.from_json(held["report"]["layer"])))
    return found


def chunk_rois(array_shape: Sequence[int], edges: Sequence[int]) -> list[tuple[slice, slice]]:
    """The chunks of the last two axes, row by row."""
    height, width = array_shape[-2:]
    rows, cols = edges[-2:]
    return [
        (slice(r, min(r + rows, height)), slice(c, min(c + cols, width)))
        for r in range(0, height, rows)
        for c in range(0, width, cols)
    ]
