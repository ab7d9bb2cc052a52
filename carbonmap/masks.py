"""Forest masks: which pixels the carbon of a map is meant for."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from carbonmap.settings import STRICT
from carbonmap.types import Bool, Ints, Raster

FOREST = 255
"""IIDM, appendix A: forest 255, non-forest 0."""

NON_FOREST = 0

UNKNOWN = 127
"""Nodata of a mask: neither of the two, far from both if something averages it by mistake."""


@dataclass(frozen=True, config=STRICT)
class Threshold:
    """Forest by height and greenness.

    Args:
        min_height_m: mean canopy height from which land counts as forest; 5 m is FAO's bound.
        min_ndvi: greenness below which tall things are not trees in leaf; of digital numbers it is
            lower than of reflectance, so look at a map before trusting it.
    """

    min_height_m: Annotated[float, Field(ge=0)] = 5.0
    min_ndvi: Annotated[float, Field(ge=-1, le=1)] = 0.2


def ndvi(red: Raster, nir: Raster) -> Raster:
    """Normalised difference vegetation index, ``(nir - red) / (nir + red)`` (Rouse et al. 1974).

    NaN where a band is missing or both are zero.
    """
    total = nir + red
    return np.divide(
        nir - red, total, out=np.full(total.shape, np.nan, total.dtype), where=total > 0
    )


def threshold_mask(height: Raster, greenness: Raster, settings: Threshold) -> Ints:
    """Forest where it is tall enough and green enough, uint8 ``(row, col)``.

    Args:
        height: mean canopy height, m.
        greenness: NDVI.
        settings: the two bounds.
    """
    forest = (height >= settings.min_height_m) & (greenness >= settings.min_ndvi)
    return _coded(forest, np.isfinite(height) & np.isfinite(greenness))


def class_mask(classes: Raster, forest_classes: Collection[int]) -> Ints:
    """Forest where a class raster says so, uint8 ``(row, col)``; NaN is unknown."""
    return _coded(np.isin(classes, list(forest_classes)), np.isfinite(classes))


def _coded(forest: Bool, known: Bool) -> Ints:
    return np.where(known, np.where(forest, FOREST, NON_FOREST), UNKNOWN).astype(np.uint8)


def is_forest(mask: Raster) -> Bool:
    """Where a mask read as numbers says forest; unknown and beyond its edge count as none."""
    return np.asarray(mask == FOREST)
