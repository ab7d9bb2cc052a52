"""Scenes of the archive: what one satellite image tells of a region, and how well.

A scene lies on the part of the region's grid that it reaches, cut at the region's own chunks, so
that a chunk of a scene is a chunk of the region.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr

from carbonmap.errors import CorruptData, MissingInput
from carbonmap.grid import Grid
from carbonmap.io import files, output, store
from carbonmap.io.store import WholeArray
from carbonmap.quality import Quality
from carbonmap.types import Json, Raster

FOLDER = "scenes"
"""Of a region, in which its scenes lie."""

MARK = "scene.json"

IMAGE, QUALITY = "image", "quality"

STEPS = 2**14
"""Steps of reflectance between 0 and 1 that are kept: 6e-5, a quarter of one count of the sensor.
What lies below is noise, which would double a scene's size on the disk."""

QUALITY_WORDS: Json = {
    "long_name": "why a pixel is not, or hardly, to be used",
    "flag_masks": [int(bit) for bit in Quality],
    "flag_meanings": " ".join(bit.name.lower() for bit in Quality if bit.name),
}
"""Attributes of a quality array, its flags as CF writes them."""


@dataclass(frozen=True)
class SceneInfo:
    """One scene of a region.

    Args:
        id: name of the product.
        grid: the part of the region's that the scene reaches.
        bands: names of the first axis.
        acquired: when it was taken, ISO, UTC.
        sensor: such as ``WFV3``.
        sun_zenith_deg: at the scene's centre.
        sun_azimuth_deg: clockwise from true north.
        view_zenith_deg: of the satellite, at the scene's centre.
        view_azimuth_deg: clockwise from true north.
        long_name: a phrase for people.
        view_slope_deg: by which the view's zenith grows from one row, and from one column, to the
            next: a wide swath is seen from straight above to far aside.
        corrections: how the light was corrected; scenes corrected otherwise do not go together.
    """

    id: str
    grid: Grid
    bands: tuple[str, ...]
    acquired: str
    sensor: str
    sun_zenith_deg: float
    sun_azimuth_deg: float
    view_zenith_deg: float
    view_azimuth_deg: float
    long_name: str
    view_slope_deg: tuple[float, float] = (0.0, 0.0)
    corrections: str = ""

    @property
    def day(self) -> str:
        """Of the image, ``YYYY-MM-DD``, UTC."""
        return self.acquired[:10]

    def view_over(self, part: Grid) -> Raster:
        """Zenith of the satellite over a part of the lattice, degrees, float32 ``(row, col)``."""
        down, right = self.view_slope_deg
        rows = part.row - self.grid.row + np.arange(part.height) - (self.grid.height - 1) / 2
        cols = part.col - self.grid.col + np.arange(part.width) - (self.grid.width - 1) / 2
        plane = self.view_zenith_deg + down * rows[:, np.newaxis] + right * cols
        return np.asarray(np.maximum(plane, 0), np.float32)

    def to_json(self) -> Json:
        """Plain values for the mark."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        lists = {"bands": list(self.bands), "view_slope_deg": list(self.view_slope_deg)}
        return plain | lists | {"grid": self.grid.to_json()}

    @classmethod
    def from_json(cls, value: Json) -> SceneInfo:
        """What `to_json` gave."""
        grid = Grid(**value["grid"] | {"anchor": tuple(value["grid"]["anchor"])})
        known = {f.name for f in dataclasses.fields(cls)}  # a later release may add more
        plain = {key: v for key, v in value.items() if key in known}
        slope = tuple(value.get("view_slope_deg", (0.0, 0.0)))
        lists = {"bands": tuple(value["bands"]), "view_slope_deg": slope}
        return cls(**plain | lists | {"grid": grid})


def folder_of(archive: Path, region: str, name: str) -> Path:
    """Where a scene lies."""
    return archive / region / FOLDER / name


def create(path: Path, info: SceneInfo) -> tuple[store.Array, store.Array]:
    """An empty scene's image and quality, or those that an interrupted run began.

    Raises:
        WriteError: the disk is full or cannot be written.
    """

    def draw(draft: Path) -> None:
        group = zarr.open_group(draft, mode="w", zarr_format=3)
        words: Json = {"units": "1", "long_name": info.long_name, "bands": list(info.bands)}
        shape = (len(info.bands), *info.grid.shape)
        store.draw_array(group, IMAGE, shape, "float32", np.nan, words)
        outside = int(Quality.OUTSIDE)
        store.draw_array(group, QUALITY, info.grid.shape, "uint8", outside, QUALITY_WORDS)
        store.draw_axes(group, info.grid)

    arrays = store.open_draft(path, draw, (IMAGE, QUALITY))
    return arrays[IMAGE], arrays[QUALITY]


def scenes(archive: Path, region: str) -> list[tuple[Path, SceneInfo]]:
    """The finished scenes of a region, by name."""
    found = []
    for mark in sorted((archive / region / FOLDER).glob(f"*/{MARK}")):
        held = files.read_json(mark)
        if held is not None:
            found.append((mark.parent, SceneInfo.from_json(held["report"]["scene"])))
    return found


def open_scene(folder: Path) -> tuple[WholeArray, WholeArray]:
    """Image ``(band, row, col)`` and quality ``(row, col)`` of a finished scene.

    Raises:
        MissingInput: it was never finished.
        CorruptData: a file of it is gone; when it is read: a chunk fails its checksum.
    """
    mark = folder / MARK
    if not mark.is_file():
        raise MissingInput(
            f"scene {str(folder)!r} is not there or incomplete; run `carbonmap ingest gf1` on its "
            f"product to its end"
        )
    if wrong := output.damaged(mark, by_size=True):
        raise CorruptData(
            f"scene {str(folder)!r} has lost or changed {', '.join(wrong[:3])}; ingest its product "
            f"again with --overwrite"
        )
    data = folder / "data.zarr"
    return store.open_array(data, IMAGE), store.open_array(data, QUALITY)


def reached(region: Grid, part: Grid) -> Grid:
    """The part of a region, in whole chunks of it, that holds another part."""
    rows, cols = region.roi_of(part)
    return region[_chunks(rows, region.height), _chunks(cols, region.width)]


def _chunks(span: slice, size: int) -> slice:
    edge = store.CHUNK_PX
    return slice(span.start // edge * edge, min(-(-span.stop // edge) * edge, size))


@dataclass(frozen=True)
class Draft:
    """A scene on the grid that is not yet judged: what waits between two passes over it.

    Args:
        counts: raw counts, uint16 ``(band, row, col)``.
        flags: quality bits, uint8 ``(row, col)``.
        means: block means of the counts of measured pixels, float32 ``(band, block, block)``.
        light: block means of the cosine of the sun's angle to the land, 0 in terrain shadow.
    """

    counts: store.Array
    flags: store.Array
    means: store.Array
    light: store.Array


@dataclass(frozen=True)
class Placed:
    """A finished draft for reading."""

    counts: WholeArray
    flags: WholeArray
    means: WholeArray
    light: WholeArray


PARTS = ("counts", "flags", "means", "light")
"""Arrays of a draft."""


def create_draft(path: Path, grid: Grid, bands: int, factor: int) -> Draft:
    """An empty draft, or the one that an interrupted run began.

    Args:
        path: its store.
        grid: the scene's.
        bands: how many.
        factor: pixels along a block of the means.

    Raises:
        WriteError: the disk is full or cannot be written.
    """
    small = tuple(-(-n // factor) for n in grid.shape)
    edge = store.CHUNK_PX // factor

    def draw(draft: Path) -> None:
        group = zarr.open_group(draft, mode="w", zarr_format=3)
        store.draw_array(group, "counts", (bands, *grid.shape), "uint16", 0, {})
        store.draw_array(group, "flags", grid.shape, "uint8", int(Quality.OUTSIDE), {})
        store.draw_array(group, "means", (bands, *small), "float32", np.nan, {}, edge)
        store.draw_array(group, "light", small, "float32", np.nan, {}, edge)

    arrays = store.open_draft(path, draw, PARTS)
    return Draft(*(arrays[name] for name in PARTS))


def create_bits(path: Path, grid: Grid) -> store.Array:
    """Empty quality bits beside a draft, or those that an interrupted run began.

    Raises:
        WriteError: the disk is full or cannot be written.
    """

    def draw(draft: Path) -> None:
        group = zarr.open_group(draft, mode="w", zarr_format=3)
        store.draw_array(group, QUALITY, grid.shape, "uint8", 0, QUALITY_WORDS)

    return store.open_draft(path, draw, (QUALITY,))[QUALITY]


def open_placed(path: Path) -> Placed:
    """A draft of which every block was written, for reading."""
    return Placed(*(store.open_array(path, name) for name in PARTS))
