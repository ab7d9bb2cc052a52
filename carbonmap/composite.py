"""Scenes of a period into one image: the best pixel of every place, and whose it is.

Each pixel is taken whole from one scene, never mixed, so that its source can be told exactly.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass as settings
from scipy import ndimage

from carbonmap.errors import GridMismatch
from carbonmap.quality import NOT_MEASURED, Quality, QualityBits, has
from carbonmap.settings import STRICT
from carbonmap.types import Bool, Floats, Raster

Sources = NDArray[np.uint16]
"""Number of the scene that each pixel was taken from, ``(row, col)``."""

NO_SOURCE = 65535
"""In place of a scene's number where no scene can be used; a province has some hundreds a month."""

GROWING = Quality.OUTSIDE | Quality.MISSING_LINE | Quality.CLOUD | Quality.THIN_CLOUD | (
    Quality.CLOUD_SHADOW
)  # fmt: skip
"""Bits whose neighbourhood is suspect as well: a cloud's hem is thinner than what a detector finds,
and resampling at an edge has seen half a pixel. A saturated roof or a shaded slope harms nothing
beside it."""

_UNUSABLE = 255
"""Rank of what is never taken."""


@settings(frozen=True, config=STRICT)
class Preference:
    """What makes one scene's pixel better than another's of the same quality.

    All is weighed in days, since a forest changes with the season: a pixel's cost is

        |days from the target| + view_days_per_deg · view zenith + edge_days · (1 − d / edge_px)

    with ``d`` the distance to the scene's own edge or to a cloud, at most `edge_px`; the lowest
    cost wins. Day of year and distance to clouds are the scores of Griffiths et al. (2013) and
    White et al. (2014) too.

    Args:
        view_days_per_deg: days that a degree of tilt is worth. By default the 24° by which
            WFV's outer cameras look aside weigh about as much as half a month: enough to decide
            within a month, not enough to bring in another season.
        edge_days: days that a pixel on the very edge is worse by.
        edge_px: where that fades out; 32 pixels of 16 m are half a kilometre, to which the haze
            around tropical clouds reaches. White et al. take 1.5 km, for which a tile would have to
            read a third more.
        cloud_shadow: whether a cloud's shadow is taken where nothing else is. By default it is a
            gap: its light is a fraction that nobody knows, a model would read it as dark, dense
            forest, and the next scene's shadow lies elsewhere. The shadow of terrain is taken as a
            last resort: it is there in every scene of a season, so a gap would stay one.
    """

    view_days_per_deg: Annotated[float, Field(ge=0)] = 0.6
    edge_days: Annotated[float, Field(ge=0)] = 8.0
    edge_px: Annotated[int, Field(ge=1, le=512)] = 32
    cloud_shadow: bool = False

    @property
    def halo(self) -> int:
        """Pixels around a tile within which its scenes' quality must be known."""
        return self.edge_px if self.edge_days else 0


@dataclass(frozen=True)
class Candidate:
    """One scene's part of a tile.

    Args:
        number: of the scene among all of the composition's, in the order of their ids; below
            `NO_SOURCE`.
        image: float32 ``(band, row, col)``; NaN where nothing was measured.
        quality: ``(row + 2 halo, col + 2 halo)``, with the halo of the preference around the
            tile; `Quality.OUTSIDE` where the scene does not reach. Beyond the region, where nobody
            looked, 0.
        days: between the scene and the target date, of either sign.
        view_zenith_deg: how far the camera looked aside, one number or one a pixel of the tile.
    """

    number: int
    image: Floats
    quality: QualityBits
    days: float
    view_zenith_deg: Raster | float


@dataclass(frozen=True)
class Composite:
    """A composed tile.

    Args:
        values: float32 ``(band, row, col)``; NaN in a gap.
        source: the number of the scene that each pixel is of; `NO_SOURCE` in a gap.
        quality: the chosen pixel's. In a gap, all that is wrong there with any scene that reaches
            it, so that the gap's reason can be told; `Quality.OUTSIDE` alone where none does.
    """

    values: Floats
    source: Sources
    quality: QualityBits


def compose(
    candidates: Iterable[Candidate],
    bands: int,
    shape: tuple[int, int],
    preference: Preference,
) -> Composite:
    """The best pixel of every place of a tile.

    A pixel can be taken where every band was measured and no cloud lies; of those, one that is
    clear goes before one under thin cloud, before one in terrain's shadow, before one that is both,
    before (if at all) a cloud's shadow; then the lowest cost, then the lowest number. That is one
    order of all pixels, so neither the candidates' order nor the tiles' can matter. Candidates are
    taken one at a time: memory holds one of them and the result.

    Args:
        candidates: the scenes that reach the tile, each number once.
        bands: number of bands.
        shape: of the tile without its halo.
        preference: what is better.

    Raises:
        GridMismatch: a candidate's arrays are not of the tile.
    """
    values = np.full((bands, *shape), np.nan, np.float32)
    source = np.full(shape, NO_SOURCE, np.uint16)
    quality = np.zeros(shape, np.uint8)
    reasons = np.zeros(shape, np.uint8)
    best_rank = np.full(shape, _UNUSABLE, np.uint8)
    best_cost = np.full(shape, np.inf, np.float32)
    for one in candidates:
        own = _own_quality(one, bands, shape, preference.halo)
        rank, cost = _ranks(preference)[own], pixel_cost(one, preference)
        even = (rank == best_rank) & (rank != _UNUSABLE)
        cheaper = (cost < best_cost) | ((cost == best_cost) & (one.number < source))
        better = (rank < best_rank) | (even & cheaper)
        best_rank[better], best_cost[better] = rank[better], cost[better]
        np.copyto(values, one.image, where=better)
        np.copyto(quality, own, where=better)
        source[better] = one.number
        reasons |= np.where(has(own, Quality.OUTSIDE), 0, own).astype(np.uint8)
    unseen = np.where(reasons == 0, np.uint8(Quality.OUTSIDE), reasons)
    return Composite(values, source, np.where(source == NO_SOURCE, unseen, quality))


def pixel_cost(one: Candidate, preference: Preference) -> Raster:
    """How far from ideal a scene's pixels are, days; see `Preference`. float32 ``(row, col)``.

    Distances are exact and end at the halo, so the cost of a pixel does not depend on its tile.
    """
    scene = abs(one.days) + preference.view_days_per_deg * one.view_zenith_deg
    halo = preference.halo
    core = tuple(slice(halo, size - halo) for size in one.quality.shape)
    bad = has(one.quality, GROWING)
    if halo == 0 or not bad.any():
        return np.full(one.quality[core].shape, scene, np.float32)
    distance = ndimage.distance_transform_edt(~bad)[core]
    nearness = 1 - np.minimum(distance, halo) / halo
    return np.asarray(scene + preference.edge_days * nearness, dtype=np.float32)


def _own_quality(one: Candidate, bands: int, shape: tuple[int, int], halo: int) -> QualityBits:
    """A candidate's quality without halo; a value that is NaN for no told reason is outside."""
    wide = (shape[0] + 2 * halo, shape[1] + 2 * halo)
    if one.image.shape != (bands, *shape) or one.quality.shape != wide:
        raise GridMismatch(
            f"scene number {one.number}",
            got=f"bands {one.image.shape} and quality {one.quality.shape}",
            want=f"{(bands, *shape)} and, with a halo of {halo} pixels, {wide}",
            todo="read both for the same tile",
        )
    own = one.quality[halo : halo + shape[0], halo : halo + shape[1]]
    lost = _unmeasured(one.image) & ~has(own, NOT_MEASURED)
    return np.where(lost, own | np.uint8(Quality.OUTSIDE), own).astype(np.uint8)


def _unmeasured(image: Floats) -> Bool:
    return np.asarray(~np.isfinite(image).all(axis=0))


def _ranks(preference: Preference) -> NDArray[np.uint8]:
    """How good each of the 256 qualities is, 0 the best; `_UNUSABLE` where it is never taken."""
    every = np.arange(256, dtype=np.uint8)
    rank: NDArray[np.uint8] = (
        1 * has(every, Quality.THIN_CLOUD)
        + 2 * has(every, Quality.TERRAIN_SHADOW)
        + 4 * has(every, Quality.CLOUD_SHADOW)
    ).astype(np.uint8)
    never = NOT_MEASURED | Quality.CLOUD
    if not preference.cloud_shadow:
        never |= Quality.CLOUD_SHADOW
    return np.where(has(every, never), np.uint8(_UNUSABLE), rank)
