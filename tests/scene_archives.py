"""Small archives that hold scenes with known values, as `carbonmap ingest gf1` leaves them."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from carbonmap import config
from carbonmap import crs as crs_
from carbonmap.grid import Grid
from carbonmap.io import output, scenes, store
from carbonmap.io.scenes import SceneInfo
from carbonmap.quality import NOT_MEASURED, Quality, has
from tests.mosaics import layout

REGION = "demo"

EDGE_PX = 88
"""Of a chunk, so that a region of some hundred pixels has many, and scenes of `twelve` begin right
at a chunk's border, beyond which nothing is stored of them, and end amid a chunk."""

LON_LAT = (102.0, 26.0)
"""On the meridian between UTM zones 47 and 48."""


@dataclass(frozen=True)
class Shot:
    """A scene on all of the region's pixels.

    Args:
        id: of the product.
        image: float32 ``(band, row, col)``, NaN where nothing was measured.
        quality: ``(row, col)``.
        day: when.
        view: zenith of the satellite, degrees.
        long_name: what its values are.
        bands: names.
    """

    id: str
    image: np.ndarray
    quality: np.ndarray
    day: str = "2020-08-16"
    view: float = 0.0
    long_name: str = "surface reflectance"
    bands: tuple = ("red", "nir")
    corrections: str = ""


def region_grid(shape):
    """A region of that many pixels in the Albers of China, its middle on the zones' border."""
    crs = config.crs_text("china-albers")
    x, y = (float(v[0]) for v in crs_.transform_points("EPSG:4326", crs, *([v] for v in LON_LAT)))
    height, width = shape
    return Grid(crs, 16.0, -round(y / 16) - height // 2, round(x / 16) - width // 2, height, width)


def keep(archive, grid, shot):
    """A finished scene, cut to the chunks that it reaches."""
    rows, cols = (np.flatnonzero(~has(shot.quality, Quality.OUTSIDE).all(axis=k)) for k in (1, 0))
    part = scenes.reached(grid, grid[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1])
    here = grid.roi_of(part)
    when = f"{shot.day}T04:00:00+00:00"
    info = SceneInfo(
        shot.id, part, shot.bands, when, "WFV3", 30.0, 120.0, shot.view, 100.0, shot.long_name,
        corrections=shot.corrections,
    )  # fmt: skip
    folder = scenes.folder_of(archive, REGION, shot.id)
    image, quality = scenes.create(folder / "data.zarr", info)
    for roi in store.chunk_rois(part.shape, image.chunks):
        store.write_block(quality, None, roi, shot.quality[here][roi])
        for number, band in enumerate(shot.image):
            store.write_block(image, number, roi, band[here][roi])
    write_mark(folder, info)
    return folder


def write_mark(folder, info):
    """Declare a scene whole as it lies there."""
    paths = [p for p in sorted((folder / "data.zarr").rglob("*")) if p.is_file()]
    held = {p.relative_to(folder).as_posix(): output.files.describe(p) for p in paths}
    output.write_mark(folder / scenes.MARK, {}, held, {"scene": info.to_json()})


def shots_of(drawn, seed=None):
    """Scenes of a layout on several days; with a seed, every fault of a scene lies on them."""
    rng = np.random.default_rng(seed)
    found = []
    for number, (image, quality) in enumerate(zip(drawn.images, drawn.qualities, strict=True)):
        image = np.round(image * 2**14) / np.float32(2**14)
        if seed is not None:
            image, quality = spoil(image, quality, rng)
        # neither names nor days in the order of the places
        name = f"GF1_WFV{number % 4 + 1}_{number * 5 % len(drawn.images):02}"
        day = f"2020-08-{1 + number * 7 % 31:02}"
        found.append(Shot(name, image.astype(np.float32), quality, day, 5.0 * (number % 4)))
    return found


def spoil(image, quality, rng):
    """Patches of every fault on a scene; NaN where the flag says so."""
    quality = quality.copy()
    inside = np.argwhere(quality == 0)
    for bit in (*Quality, Quality.CLOUD_SHADOW | Quality.TERRAIN_SHADOW, Quality.CLOUD):
        for r, c in inside[rng.integers(0, len(inside), 3)]:
            patch = np.s_[r : r + rng.integers(2, 14), c : c + rng.integers(2, 14)]
            reached = ~has(quality[patch], Quality.OUTSIDE)
            quality[patch] |= np.where(reached, np.uint8(bit), np.uint8(0))
    lost = has(quality, NOT_MEASURED)
    return np.where(lost, np.float32(np.nan), image), quality


def twelve(seed=1, spoilt=None):
    """Grid and scenes: three rows of four, which overlap by a quarter of their edges."""
    drawn = layout(3, 4, seed)
    return region_grid(drawn.truth.shape[1:]), shots_of(drawn, spoilt)


def same_day(shots):
    """The scenes as if one day had taken them all."""
    return [dataclasses.replace(shot, day="2020-08-16", view=0.0) for shot in shots]
