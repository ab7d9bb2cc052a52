"""Clouds from four bands: pixels by thresholds, objects and shadows on a reduced scene.

A cloud and its shadow are wider than a tile, so a scene is judged at once on an image of block
means, and what was found is brought back to full resolution tile by tile:

    candidates → reduce → detect (whole scene) → refine (any tile)

What four bands cannot tell: snow and bright roofs look like cloud, since that takes a short-wave
infrared band; sun glint on water too, where it is as bright in NIR; cirrus too thin to whiten the
land is missed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass as checked
from scipy import ndimage

from carbonmap.cloudshadow import Direction, ShadowSettings, dark_level, find_shadows
from carbonmap.errors import GridError
from carbonmap.features import BANDS
from carbonmap.quality import Quality, QualityBits
from carbonmap.settings import STRICT
from carbonmap.types import Bands, Bool, Raster

Reflectance = Annotated[float, Field(ge=0, le=1)]

FACTOR = 4
"""Full pixels along a reduced one: 64 m, half as wide as the smallest clouds worth an object, and
a full scene of 12,500² pixels becomes 3,100²."""


@checked(frozen=True, config=STRICT)
class CloudSettings:
    """Thresholds on top-of-atmosphere reflectance, and what happens to objects.

    GF-1 WFV saturates early: at overhead sun its full count is a reflectance of 0.26–0.41 in blue
    and 0.20–0.32 in red (gains of 2014–2023), so that a saturated cloud's haze index may be as low
    as 0.124 and its ratio of visible bands 0.66. The bounds below stay under these.

    Args:
        thick_haze: least ``HOT`` of thick cloud. Clear land seldom passes 0.10: 0.117 was
            the most on the white sandstone of a real desert scene.
        thin_haze: least ``HOT`` of thin cloud; Zhu & Woodcock (2012, eq. 3) take 0.08 for what may
            be haze, over less of it than the valleys of southern China have.
        over_clear: how far above the scene's clear level thin cloud must stand as well: haze over
            all of a scene is the atmosphere, which its correction removes.
        visible_ratio: least ÷ greatest of the visible bands in thick cloud (the visible band ratio
            of Li et al. 2017 for GF-1). Clouds are grey; 0.7 would lose saturated ones.
        brightness: least mean of the visible bands in thick cloud.
        nir: least NIR in thick cloud; turbid water and shaded haze are darker.
        water: least NDWI of water; no shadow is sought there, as it could not be told.
        smallest: reduced pixels of the smallest object: 2 are 0.8 ha, as Fmask's 9 Landsat pixels.
        buffer_px: full pixels by which clouds and shadows grow: their edges are softer than any
            threshold. Fmask takes 3 of 30 m.
        shadow: how shadows are sought.
    """

    thick_haze: Reflectance = 0.12
    thin_haze: Reflectance = 0.10
    over_clear: Reflectance = 0.03
    visible_ratio: Reflectance = 0.65
    brightness: Reflectance = 0.20
    nir: Reflectance = 0.15
    water: Reflectance = 0.15
    smallest: Annotated[int, Field(ge=1)] = 2
    buffer_px: Annotated[int, Field(ge=0)] = 2
    shadow: ShadowSettings = ShadowSettings()


@dataclass(frozen=True)
class CloudMap:
    """What a whole scene shows, on the reduced grid; every array ``(row, col)``.

    Args:
        cloud: thick clouds, small ones dropped.
        thin: thin cloud and haze beside them.
        shadow: land in a cloud's shadow.
        dark: NIR below which land is dark for its surroundings, float32.
        factor: full pixels along one of these.
    """

    cloud: Bool
    thin: Bool
    shadow: Bool
    dark: Raster
    factor: int


def haze(toa: Bands) -> Raster:
    """Haze optimised transform with a fixed clear line, ``HOT = blue − 0.5 red``, same shape.

    Over clear land blue follows red, and haze adds to blue more (Zhang et al. 2002; the slope of
    0.5 is Zhu & Woodcock's, 2012, eq. 3).
    """
    return np.asarray(toa["blue"] - 0.5 * toa["red"])


def cloud_candidates(toa: Bands, settings: CloudSettings) -> tuple[Bool, Bool]:
    """Pixels that may be thick cloud, and others that may be thin; each for itself.

    Args:
        toa: top-of-atmosphere reflectance by name (`features.BANDS`), ``(row, col)``; saturated
            pixels keep their highest value, NaN is what was not measured.
        settings: thresholds.

    Returns:
        Thick and thin, ``(row, col)`` each; never both, and neither where a band is NaN.
    """
    hot = haze(toa)
    visible = np.stack([toa["blue"], toa["green"], toa["red"]])
    thick = hot > settings.thick_haze
    thick &= visible.mean(axis=0) > settings.brightness
    thick &= visible.min(axis=0) > settings.visible_ratio * visible.max(axis=0)
    thick &= toa["nir"] > settings.nir
    known = np.isfinite(toa["nir"]) & np.isfinite(toa["green"])
    return thick, (hot > settings.thin_haze) & ~thick & known


def is_water(toa: Bands, settings: CloudSettings) -> Bool:
    """Open water, and the deepest terrain shadows: what is dark without any cloud's help.

    By ``NDWI = (green − NIR) / (green + NIR)`` (McFeeters 1996). Land in a cloud's shadow keeps
    some NIR; water has none, and looks like shadow to anything that asks for darkness alone.
    """
    green, nir = toa["green"], toa["nir"]
    return np.asarray(green - nir > settings.water * (green + nir))


def reduce(values: Raster | Bool, factor: int = FACTOR) -> Raster:
    """Block means, float32, NaN left out; blocks that reach over the edge are of what is there.

    Blocks are counted from the array's first pixel: a tile whose first row and column are
    multiples of the factor gives the very blocks of the whole.

    Args:
        values: ``(row, col)``.
        factor: pixels along a block.

    Returns:
        ``(⌈row / factor⌉, ⌈col / factor⌉)``; NaN where nothing is known.
    """
    rows, cols = (-(-n // factor) for n in values.shape)
    pad = [(0, m * factor - n) for m, n in zip((rows, cols), values.shape, strict=True)]
    known = np.pad(np.isfinite(values), pad).reshape(rows, factor, cols, factor)
    blocks = np.pad(np.nan_to_num(values), pad).reshape(known.shape)
    total = blocks.sum(axis=(1, 3), dtype=np.float64)
    count = known.sum(axis=(1, 3))
    mean = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return np.asarray(mean, dtype=np.float32)


def detect(
    toa: Bands,
    sun: Direction,
    view: Direction,
    pixel_m: float,
    settings: CloudSettings,
    *,
    terrain_shadow: Bool | None = None,
    factor: int = FACTOR,
) -> CloudMap:
    """Clouds, thin clouds and shadows of a whole scene on the reduced grid.

    Args:
        toa: block means of reflectance (`reduce`), grid north up.
        sun: of the scene, or of each reduced pixel.
        view: likewise; a wide swath is better served with each pixel's own.
        pixel_m: edge of a reduced pixel, m.
        settings: thresholds.
        terrain_shadow: reduced pixels that are dark for want of sun; they prove no cloud.
        factor: full pixels along a reduced one.

    Raises:
        GridError: the layers' shapes differ.
    """
    shape = toa["nir"].shape
    hidden = np.zeros(shape, bool) if terrain_shadow is None else terrain_shadow
    for name, layer in {**{b: toa[b] for b in BANDS}, "terrain shadow": hidden}.items():
        if layer.shape != shape:
            raise GridError(f"{name} has shape {layer.shape} and nir {shape}; reduce all alike")
    thick, thin = cloud_candidates(toa, settings)
    cloud = _without_small(thick, settings.smallest)
    thin |= thick & ~cloud
    thin &= haze(toa) > _clear_level(toa, cloud) + settings.over_clear
    nir = toa["nir"]
    level = dark_level(nir, cloud, pixel_m, settings.shadow)
    land = np.isfinite(nir) & np.isfinite(level) & ~is_water(toa, settings) & ~hidden
    found = find_shadows(cloud, nir < level, land, sun, view, pixel_m, settings.shadow)
    return CloudMap(cloud, thin, found.shadow, level, factor)


def refine(
    toa: Bands, scene: CloudMap, origin: tuple[int, int], settings: CloudSettings
) -> QualityBits:
    """Quality bits of clouds and shadows of any tile at full resolution.

    Candidates stand where the scene's map confirms them (in the same block or one beside it), and
    grow by `CloudSettings.buffer_px`. Shadow is where the map says so, and dark land beside that.
    A tile equals the whole only where it was read with a halo of `buffer_px` and cropped
    afterwards; tiles need not fall on blocks.

    Args:
        toa: top-of-atmosphere reflectance of the tile and its halo, ``(row, col)``.
        scene: of the whole scene.
        origin: row and column of the tile's first pixel, counted in the scene from the first pixel
            of the first block; below 0 and past the end is land beyond the scene.
        settings: the thresholds with which the scene was judged.

    Returns:
        `Quality.CLOUD`, else `THIN_CLOUD` or `CLOUD_SHADOW` or both, uint8 ``(row, col)``; 0 where
        NIR is NaN.
    """
    thick, thin = cloud_candidates(toa, settings)
    shape, beside = thick.shape, np.ones((3, 3), bool)

    def near(blocks: Bool) -> Bool:
        return _spread(ndimage.binary_dilation(blocks, beside), scene.factor, origin, shape, False)

    cloud = _grown(thick & near(scene.cloud), settings.buffer_px)
    thin = (thin | thick) & near(scene.thin) & ~cloud
    dark = toa["nir"] < _spread(scene.dark, scene.factor, origin, shape, np.nan)
    core = ndimage.binary_erosion(scene.shadow, beside, border_value=1)
    shadow = _spread(core, scene.factor, origin, shape, False) | (dark & near(scene.shadow))
    shadow = _grown(shadow & ~is_water(toa, settings), settings.buffer_px) & ~cloud
    bits = cloud * np.uint8(Quality.CLOUD) | thin * np.uint8(Quality.THIN_CLOUD)
    bits |= shadow * np.uint8(Quality.CLOUD_SHADOW)
    return np.where(np.isfinite(toa["nir"]), bits, 0).astype(np.uint8)


def _without_small(mask: Bool, smallest: int) -> Bool:
    """Objects (8-connected) of at least so many pixels."""
    objects, _ = ndimage.label(mask, structure=np.ones((3, 3)))
    large = np.bincount(objects.ravel()) >= smallest
    large[0] = False
    return np.asarray(large[objects])


def _clear_level(toa: Bands, cloud: Bool) -> float:
    """Haze of the clearer quarter of the land: a scene's atmosphere without its clouds."""
    hot = haze(toa)[~cloud]
    hot = hot[np.isfinite(hot)]
    return float(np.quantile(hot, 0.25)) if hot.size else 0.0


def _spread(
    blocks: NDArray[Any],
    factor: int,
    origin: tuple[int, int],
    shape: tuple[int, ...],
    beyond: float,
) -> NDArray[Any]:
    """The blocks' values at full resolution, `beyond` off them."""
    row, col = (
        np.arange(start, start + n) // factor for start, n in zip(origin, shape, strict=True)
    )
    return np.pad(blocks, 1, constant_values=beyond)[
        np.ix_(*(np.clip(i + 1, 0, n + 1) for i, n in zip((row, col), blocks.shape, strict=True)))
    ]


def _grown(mask: Bool, px: int) -> Bool:
    """The mask and what lies within so many pixels of it, as the crow flies."""
    if px == 0:
        return mask
    away = np.arange(-px, px + 1)
    return np.asarray(ndimage.binary_dilation(mask, np.hypot(*np.meshgrid(away, away)) <= px))
