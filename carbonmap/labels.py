"""Carbon-density labels: every stand's stock laid over its pixels by canopy height.

    C_ij = C_i · s_i · W_ij,   W_ij = a_ij h_ij / Σ_j a_ij h_ij        Yu et al. (IIDM), eq. 7

with C_i the stock of stand i, s_i the share of its area on the grid, a_ij the area of pixel j that
it covers and h_ij the canopy height there. The paper normalises height alone and leaves pixels on
a stand's border open; weighting by covered area gives each stand its part of a shared pixel.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from carbonmap.coverage import Coverage
from carbonmap.types import Bool, Floats, Ints, Plots, Raster

ONCE = 1.001
"""Most of a pixel inside stands for it to lie in one of them; exactextract's shares are float32."""


class HeightSource(IntEnum):
    """Where a pixel's weight came from; the largest code of the stands that share it."""

    NONE = 0
    MEASURED = 1
    STAND_MEAN = 2
    EVEN = 3


@dataclass(frozen=True)
class StandSums:
    """What a stand's pixels add up to; sums of tiles add to those of the map.

    Args:
        covered: area on the grid, ha, shape ``(stand,)``.
        forest: area of that under the forest mask, ha; all of it where there is no mask.
        measured: area of the forest with a canopy height, ha.
        canopy: ∫ height over the measured area, ha·m.
    """

    covered: Plots
    forest: Plots
    measured: Plots
    canopy: Plots

    def __add__(self, other: StandSums) -> StandSums:
        return StandSums(
            *(getattr(self, f.name) + getattr(other, f.name) for f in dataclasses.fields(self))
        )

    @classmethod
    def zeros(cls, stands: int) -> StandSums:
        """Nothing seen yet."""
        return cls(*(np.zeros(stands) for _ in dataclasses.fields(cls)))

    @property
    def mean_height(self) -> Plots:
        """Mean canopy height of the measured area, m; NaN where none was measured."""
        return np.divide(
            self.canopy,
            self.measured,
            out=np.full_like(self.canopy, np.nan),
            where=self.measured > 0,
        )

    @property
    def even(self) -> Bool:
        """Stands without any canopy, whose stock is spread evenly."""
        return (self.covered > 0) & (self.canopy <= 0)

    @property
    def without_forest(self) -> Bool:
        """Stands of which the forest mask leaves nothing, so that it is not applied to them."""
        return (self.covered > 0) & (self.forest <= 0)


def stand_sums(
    cover: Coverage, height: Raster, pixel_area: Floats, stands: int, forest: Bool | None = None
) -> StandSums:
    """First pass over a tile: how much canopy every stand holds.

    Args:
        cover: stands on the tile's pixels.
        height: mean canopy height, m, shape ``(row, col)``; NaN where nobody measured.
        pixel_area: ha, broadcastable to ``(row, col)``.
        stands: number of stands.
        forest: where stock may lie, shape ``(row, col)``; None for everywhere.
    """
    area = cover.fraction * _at(pixel_area, cover.cell, height.shape)
    covered = forested = _per_stand(cover, area, stands)
    if forest is not None:
        area = area * forest.reshape(-1)[cover.cell]
        forested = _per_stand(cover, area, stands)
    h, measured = height.reshape(-1)[cover.cell], forested
    known = np.isfinite(h)
    if not known.all():
        area, h = area * known, np.where(known, h, 0.0)
        measured = _per_stand(cover, area, stands)
    return StandSums(covered, forested, measured, _per_stand(cover, area * h, stands))


@dataclass(frozen=True)
class TileLabels:
    """The labels of one tile, each ``(row, col)``.

    Args:
        density: Mg C/ha by pool; NaN where no stand of known stock lies, 0 where it holds none.
        coverage: share of the pixel inside stands of known stock; above 1 where these overlap.
        stand: 1 + index of the stand that covers most of the pixel; 0 for none.
        source: `HeightSource` codes.
    """

    density: Mapping[str, Raster]
    coverage: Raster
    stand: Ints
    source: Ints


def spread(
    cover: Coverage,
    height: Raster,
    pixel_area: Floats,
    sums: StandSums,
    stock: Mapping[str, Plots],
    forest: Bool | None = None,
) -> TileLabels:
    """Second pass over a tile: lay every stand's stock over its pixels.

    A pixel without height takes its stand's mean; a stand without any canopy is spread evenly over
    its covered forest, and one without forest over all that it covers. So Σ_j C_ij = C_i s_i.

    Args:
        cover: stands on the tile's pixels.
        height: mean canopy height, m, ``(row, col)``.
        pixel_area: ha, broadcastable to ``(row, col)``.
        sums: of the whole map.
        stock: t C on the grid by pool, each ``(stand,)``; NaN where unknown.
        forest: as in `stand_sums`.
    """
    shape = height.shape
    cover = _known(cover, stock)
    pixel_ha = _at(pixel_area, cover.cell, shape)
    weight, source = _weights(cover, height, pixel_ha, sums, forest)
    cells = height.size
    share: Floats = np.bincount(cover.cell, cover.fraction, cells).astype(np.float64)
    area = np.broadcast_to(pixel_area, shape).reshape(-1)
    with np.errstate(invalid="ignore", divide="ignore"):  # stands that are not in the map
        each = {pool: tonnes / _total_weight(sums) for pool, tonnes in stock.items()}
    area = np.where(share > 0, area, np.nan)
    density = {}
    for pool, tonnes in each.items():
        carbon = np.bincount(cover.cell, weight * tonnes[cover.stand], cells)
        density[pool] = (carbon / area).reshape(shape)
    codes = np.zeros(cells, np.uint8)
    codes[cover.cell] = HeightSource.MEASURED
    for code in (HeightSource.STAND_MEAN, HeightSource.EVEN):
        codes[cover.cell[source == code]] = code
    return TileLabels(density, share.reshape(shape), _dominant(cover, shape), codes.reshape(shape))


def trustworthy(share: Floats, min_coverage: float) -> Bool:
    """Where a label tells of the whole pixel, and of one stand's land only.

    Args:
        share: of the pixel inside known stands, 0–1, above 1 where two stands claim it; NaN none.
        min_coverage: least share that counts.
    """
    known = np.nan_to_num(share)
    return np.asarray((known >= min_coverage) & (known <= ONCE))


def _known(cover: Coverage, stock: Mapping[str, Plots]) -> Coverage:
    """Without the stands whose stock nobody knows."""
    known = np.isfinite(np.sum(list(stock.values()), axis=0))[cover.stand]
    if known.all():
        return cover
    return Coverage(cover.stand[known], cover.cell[known], cover.fraction[known])


def _weights(
    cover: Coverage, height: Raster, pixel_ha: Floats, sums: StandSums, forest: Bool | None
) -> tuple[Floats, Ints]:
    """``a_ij h_ij`` of every entry, and where its height came from."""
    h = height.reshape(-1)[cover.cell]
    source = np.full(h.shape, HeightSource.MEASURED, np.uint8)
    even = sums.even[cover.stand]
    filled = ~even & ~np.isfinite(h)
    if filled.any():
        h = np.where(filled, sums.mean_height[cover.stand], h)
        source[filled] = HeightSource.STAND_MEAN
    if even.any():
        h = np.where(even, 1.0, h)
        source[even] = HeightSource.EVEN
    weight = cover.fraction * pixel_ha * h
    if forest is not None:
        weight *= forest.reshape(-1)[cover.cell] | sums.without_forest[cover.stand]
    return weight, source


def _total_weight(sums: StandSums) -> Plots:
    """``Σ_j a_ij h_ij`` of every stand over the whole map, heights filled in."""
    with np.errstate(invalid="ignore", divide="ignore"):
        canopy = sums.canopy * sums.forest / sums.measured
    return np.where(sums.without_forest, sums.covered, np.where(sums.even, sums.forest, canopy))


def _dominant(cover: Coverage, shape: tuple[int, ...]) -> Ints:
    """1 + the stand with the largest share of each pixel; the first listed of equal ones."""
    out = np.zeros(int(np.prod(shape)), np.uint32)
    whole = cover.fraction >= 1
    out[cover.cell[whole][::-1]] = cover.stand[whole][::-1] + 1
    part = np.flatnonzero(~whole)
    order = part[np.lexsort((-cover.stand[part], cover.fraction[part]))]
    order = order[out[cover.cell[order]] == 0]
    out[cover.cell[order]] = cover.stand[order] + 1
    return out.reshape(shape)


def _at(pixel_area: Floats, cell: Ints, shape: tuple[int, ...]) -> Floats:
    """Area of the pixel under each entry, ha."""
    if pixel_area.size == 1:
        return np.broadcast_to(pixel_area.reshape(-1), cell.shape)
    return np.broadcast_to(pixel_area, shape).reshape(-1)[cell]


def _per_stand(cover: Coverage, values: Floats, stands: int) -> Plots:
    return np.bincount(cover.stand, values, stands).astype(np.float64)
