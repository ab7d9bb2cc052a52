"""Clouds and shadows of a placed scene, by thresholds on the whole of it or by OmniCloudMask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from carbonmap import clouds as thresholds
from carbonmap import progress
from carbonmap.clouds import FACTOR, CloudMap, CloudSettings, reduce
from carbonmap.cloudshadow import Direction
from carbonmap.features import BANDS
from carbonmap.grid import Grid
from carbonmap.io import scenes, store
from carbonmap.io.output import Work
from carbonmap.io.scenes import Placed
from carbonmap.io.store import WholeArray
from carbonmap.models import omnicloud
from carbonmap.quality import NOT_MEASURED, Quality, QualityBits, has
from carbonmap.stages import blocks
from carbonmap.stages.blocks import Chunk, Roi
from carbonmap.stages.common import ahead
from carbonmap.stages.gf1.judge import DIM, Optics
from carbonmap.stages.gf1.options import SceneOptions
from carbonmap.stages.gf1.raw import Placing
from carbonmap.types import Bool, Floats, Json

BITS = (Quality.CLOUD, Quality.THIN_CLOUD, Quality.CLOUD_SHADOW)
"""What OmniCloudMask's thick cloud, thin cloud and cloud shadow are called here."""


class Clouds(Protocol):
    """What a detector found in a scene."""

    def cloudy(self, roi: Roi) -> Bool:
        """Which block means of a part, whose first pixel begins a block, are not of clear land."""
        ...

    def bits(self, roi: Roi) -> QualityBits:
        """Quality bits of a part, uint8 ``(row, col)``."""
        ...


@dataclass(frozen=True)
class Sight:
    """A placed scene as it looks from above the atmosphere, clouds and all.

    Args:
        placed: its counts and flags on the grid.
        placing: where and when.
        optics: from counts to reflectance.
    """

    placed: Placed
    placing: Placing
    optics: Optics

    def toa(self, part: Grid) -> Floats:
        """Reflectance ``(band, row, col)``, float32, of any part of the scene's lattice.

        Saturated pixels keep their highest value; NaN is what else was not measured, and what lies
        beyond the scene.
        """
        grid, counts = self.placing.grid, np.full((len(BANDS), *part.shape), np.nan, np.float32)
        held = part.intersection(grid)
        if held is not None:
            inner, there = grid.roi_of(held), part.roi_of(held)
            known = ~has(self.placed.flags[inner], NOT_MEASURED & ~Quality.SATURATED)
            if known.any():
                found = self.placed.counts[(slice(None), *inner)]
                counts[(slice(None), *there)] = np.where(known, found, np.float32(np.nan))
        return self.optics.toa(counts, self.placing.sky.sun_at(part)[0])


@dataclass(frozen=True)
class ByThresholds:
    """The scene judged at once on its block means, and refined part by part.

    Args:
        sight: of the scene.
        map: on the block means.
        settings: the thresholds.
    """

    sight: Sight
    map: CloudMap
    settings: CloudSettings

    def cloudy(self, roi: Roi) -> Bool:
        """See `Clouds`."""
        found = self.map.cloud | self.map.thin | self.map.shadow
        return np.asarray(found[tuple(slice(s.start // FACTOR, -(-s.stop // FACTOR)) for s in roi)])

    def bits(self, roi: Roi) -> QualityBits:
        """See `Clouds`; found with a halo around the part."""
        halo, part = self.settings.buffer_px, self.sight.placing.grid[roi]
        toa = self.sight.toa(part.padded(halo))
        if np.isnan(toa).all():
            return np.zeros(part.shape, np.uint8)
        origin = (roi[0].start - halo, roi[1].start - halo)
        bits = thresholds.refine(_named(toa), self.map, origin, self.settings)
        return bits[halo : halo + part.height, halo : halo + part.width]


@dataclass(frozen=True)
class ByNetworks:
    """What OmniCloudMask found, block by block of the archive, before the scene was judged.

    Args:
        found: quality bits of the scene.
    """

    found: WholeArray

    def cloudy(self, roi: Roi) -> Bool:
        """See `Clouds`; one pixel is enough, since its light is in the block's mean."""
        return np.asarray(reduce(self.bits(roi) != 0) > 0)

    def bits(self, roi: Roi) -> QualityBits:
        """See `Clouds`."""
        return np.asarray(self.found[roi], dtype=np.uint8)


def clouds_of(sight: Sight, options: SceneOptions, work: Work, name: str) -> Clouds | None:
    """Clouds and shadows of a scene as the options ask; None where nobody wants them.

    Args:
        sight: of the scene.
        options: which detector.
        work: the scene's, in which OmniCloudMask's findings wait.
        name: of the scene.

    Raises:
        MissingInput: a file of weights is not there.
        ModelError: the networks cannot be used.
    """
    if options.clouds == "none":
        return None
    if options.clouds == "omnicloudmask":
        return _by_networks(sight, options, work, name)
    sky, pixel_m = sight.placing.sky, sight.placing.grid.pixel_m * FACTOR
    toa, view, dim = _reduced(sight)
    found = thresholds.detect(
        _named(toa), Direction(*sky.sun_mean), view, pixel_m, options.cloud, terrain_shadow=dim
    )
    return ByThresholds(sight, found, options.cloud)


def _reduced(sight: Sight) -> tuple[Floats, Direction, Bool]:
    """Block means of the whole scene: reflectance, view, and where hardly any sun reaches.

    Filled strip by strip, since a whole scene's double-precision steps would take gigabytes.
    """
    grid, sky, placed = sight.placing.grid, sight.placing.sky, sight.placed
    toa = np.empty(placed.means.shape, np.float32)
    zenith, azimuth = np.empty(toa.shape[1:], np.float32), np.empty(toa.shape[1:], np.float32)
    dim = np.empty(toa.shape[1:], bool)
    for first in range(0, grid.height, store.CHUNK_PX):
        part = grid[first : first + store.CHUNK_PX, :]
        rows = slice(first // FACTOR, -(-(first + part.height) // FACTOR))
        toa[:, rows] = sight.optics.toa(placed.means[:, rows], sky.sun_at(part, FACTOR)[0])
        view = sky.view_at(part, FACTOR)
        zenith[rows], azimuth[rows] = view.zenith, view.azimuth
        dim[rows] = placed.light[rows] < DIM
    return toa, Direction(zenith, azimuth), dim


def _by_networks(sight: Sight, options: SceneOptions, work: Work, name: str) -> ByNetworks:
    """Let the networks see every block that an earlier run did not finish.

    One block at a time, since torch spreads each over the cores itself.
    """
    path, grid = work.folder / "clouds.zarr", sight.placing.grid
    out = scenes.create_bits(path, grid)
    parts = store.chunk_rois(grid.shape, (store.CHUNK_PX, store.CHUNK_PX))
    todo = blocks.left(work, path, "clouds", parts)

    def one(roi: Roi) -> tuple[str, Json]:
        held = blocks.write(path, [Chunk(out, None, roi, _seen(sight, options, roi))])
        return blocks.key_of("clouds", roi), held

    for key, facts in progress.track(ahead(one, todo, 1), f"clouds of {name}", len(todo)):
        work.record(key, facts)
    return ByNetworks(store.open_array(path, scenes.QUALITY))


def _seen(sight: Sight, options: SceneOptions, roi: Roi) -> QualityBits:
    """What the networks say of one block.

    They see as much around it as their patches share, cut at the scene's edge: blank margins would
    make them take smaller patches. The same block always has the same margins, so its bits depend
    on the scene and the archive's lattice alone.
    """
    grid, least = sight.placing.grid, omnicloud.SMALLEST_PX
    part = grid[roi]
    if has(sight.placed.flags[roi], Quality.OUTSIDE).all():
        return np.zeros(part.shape, np.uint8)
    wide = part.padded(omnicloud.OVERLAP_PX).intersection(grid)
    assert wide is not None  # a block lies in its scene
    margins = [(0, 0), *((0, max(least - n, 0)) for n in wide.shape)]
    toa = _named(np.pad(sight.toa(wide), margins, constant_values=np.nan))
    assert options.cloud_weights is not None  # the options have seen to it
    masks = omnicloud.cloud_classes(toa["red"], toa["green"], toa["nir"], options.cloud_weights)
    bits = np.zeros(masks[0].shape, np.uint8)
    for mask, bit in zip(masks, BITS, strict=True):
        bits |= mask * np.uint8(bit)
    return bits[wide.roi_of(part)]


def _named(toa: Floats) -> dict[str, Floats]:
    return dict(zip(BANDS, toa, strict=True))
