"""What a model sees of a pixel: its bands, its terrain, and what lies around it.

Every feature of a pixel is computed from the window around that pixel alone, in one fixed order, so
that a tile read with its halo gives the bytes of the whole map. Only operations that IEEE 754
rounds exactly are used (+ − × ÷ √), since trigonometric functions may differ between vector units.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from carbonmap.errors import ModelError, nearest
from carbonmap.settings import STRICT, Spec
from carbonmap.terrain import HALO_PX, horn_gradient
from carbonmap.types import Bands, Bool, Floats
from carbonmap.windows import window_sum

BANDS = ("blue", "green", "red", "nir")
"""Names of the image's layers; those of GF-1 WFV, in its order."""

INPUTS = {"image": BANDS, "terrain": ("elevation",), "canopy-height": ("canopy_height",)}
"""The layers behind each kind of input, by the names they have in the archive."""

INDICES = {
    "ndvi": ("nir", "red"),  # greenness, Rouse et al. 1974
    "gndvi": ("nir", "green"),  # chlorophyll, Gitelson et al. 1996; its negative is McFeeters' NDWI
    "bndvi": ("nir", "blue"),
    "grvi": ("green", "red"),  # leaf against soil and bark, Tucker 1979
    "rbi": ("red", "blue"),  # iron-rich soil and rock
}
"""Normalised differences, (a − b) / (a + b). No index with constants of its own, such as EVI, since
a band may hold digital numbers."""

STRIP_PX = 128
"""Rows whose features are computed at once: 36 MB for 68 features of a tile 1024 pixels wide."""

Scalar = TypeVar("Scalar", bound=np.generic)

MAX_RADIUS = 64
"""Largest context window, 129 pixels a side: already wider than a stand, and its halo would be most
of what is read for a tile."""


def _known_inputs(inputs: tuple[str, ...]) -> tuple[str, ...]:
    for name in inputs:
        if name not in INPUTS:
            raise ValueError(f"{name!r} is no kind of input; {nearest(name, INPUTS)}")
    if not inputs:
        raise ValueError(f"a model needs at least one kind of input; {nearest('', INPUTS)}")
    return tuple(kind for kind in INPUTS if kind in inputs)


def _rising(radii: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(set(radii)))


@dataclass(frozen=True, config=STRICT)
class FeatureSpec(Spec):
    """Which features a model sees; a layer of another kind of input it does not need.

    Args:
        inputs: kinds of layers, of `INPUTS`; kept in that order, whatever the order given.
        radii: of the square context windows, pixels; ``r`` means ``2r + 1`` pixels a side.
        indices: whether band ratios stand beside the bands.
        spread: whether a window gives its standard deviation beside its mean.
    """

    inputs: Annotated[tuple[str, ...], AfterValidator(_known_inputs)] = ("image", "terrain")
    radii: Annotated[
        tuple[Annotated[int, Field(ge=1, le=MAX_RADIUS)], ...], AfterValidator(_rising)
    ] = (2, 5)
    indices: bool = True
    spread: bool = True

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that `features` needs."""
        return tuple(layer for kind in self.inputs for layer in INPUTS[kind])

    @property
    def halo(self) -> int:
        """Pixels by which a tile must be read beyond its edges."""
        return max(self.radii, default=0) + (HALO_PX if "terrain" in self.inputs else 0)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features, in the order in which `features` stacks them."""
        own = self.pixel_names
        return own + tuple(
            f"{name}_{statistic}_{radius}px"
            for radius in self.radii
            for name in own
            for statistic in self.statistics(name)
        )

    @property
    def pixel_names(self) -> tuple[str, ...]:
        """Names of the features of the pixel by itself."""
        image = BANDS + tuple(INDICES) * self.indices
        terrain = ("elevation", "slope", "rise_east", "rise_north")
        own = {"image": image, "terrain": terrain, "canopy-height": ("canopy_height",)}
        return tuple(name for kind in self.inputs for name in own[kind])

    def statistics(self, name: str) -> tuple[str, ...]:
        """What a window tells of a feature; of elevation only how far the pixel rises above it.

        A mean of elevation would tell where in the region a pixel lies, and a tree would learn the
        place by heart.
        """
        if name == "elevation":
            return ("above",)
        return ("mean", "std") if self.spread else ("mean",)


def features(layers: Bands, spec: FeatureSpec, pixel_m: float) -> Floats:
    """The features of a tile.

    A window's mean and standard deviation are over its valid pixels; a pixel is valid where every
    layer that the spec needs is finite. So nodata eats no margin, and a map's edge is no different
    from nodata.

    Args:
        layers: at least ``spec.layers``, each ``(row + 2 halo, col + 2 halo)``; NaN is nodata.
        spec: what to compute; its ``halo`` is that of the layers.
        pixel_m: edge of a pixel, m.

    Returns:
        Float32, ``(feature, row, col)`` in the order of ``spec.names``; NaN in every feature of a
        pixel that is not valid.

    Raises:
        ModelError: a layer is missing, or the layers are no tile with that halo.
    """
    shape = _core_shape(layers, spec)
    valid = _finite(layers, spec)
    own = {
        name: np.where(valid, values, 0.0)
        for name, values in _pixel_features(layers, spec, pixel_m).items()
    }
    out = np.empty((len(spec.names), *shape), np.float32)
    for plane, values in zip(out, _planes(own, valid, spec), strict=True):
        plane[:] = values
    out[:, _trim(~valid, spec.halo)] = np.nan
    return out


def features_at(layers: Bands, spec: FeatureSpec, pixel_m: float, wanted: Bool) -> Floats:
    """The features of some pixels of a tile, in memory that the tile's height does not enter.

    Args:
        layers: as for `features`.
        spec: as for `features`.
        pixel_m: edge of a pixel, m.
        wanted: which pixels, ``(row, col)``.

    Returns:
        Float32, ``(pixel, feature)``, the pixels row by row; NaN where one is not valid.

    Raises:
        ModelError: a layer is missing, or the layers are no tile with that halo.
    """
    found = [np.empty((0, len(spec.names)), np.float32)]
    for rows, strip in strips(layers, wanted.shape[0], spec.halo):
        if wanted[rows].any():
            found.append(features(strip, spec, pixel_m)[:, wanted[rows]].T)
    return np.concatenate(found)


def strips(layers: Bands, height: int, halo: int) -> Iterator[tuple[slice, Bands]]:
    """A tile's rows in strips of `STRIP_PX`, and the layers of each with their halo."""
    for start in range(0, height, STRIP_PX):
        stop = min(start + STRIP_PX, height)
        yield slice(start, stop), {k: v[start : stop + 2 * halo] for k, v in layers.items()}


def valid_pixels(layers: Bands, spec: FeatureSpec) -> Bool:
    """Where `features` will be finite, ``(row, col)`` without the halo, at the cost of a look.

    Raises:
        ModelError: a layer is missing, or the layers are no tile with that halo.
    """
    _core_shape(layers, spec)
    return _trim(_finite(layers, spec), spec.halo)


def _finite(layers: Bands, spec: FeatureSpec) -> Bool:
    """Where every layer that is needed is known, the halo included."""
    return np.asarray(np.all([np.isfinite(layers[name]) for name in spec.layers], axis=0))


def _core_shape(layers: Bands, spec: FeatureSpec) -> tuple[int, int]:
    """Shape of the tile without its halo, once the layers are known to be whole."""
    missing = [name for name in spec.layers if name not in layers]
    if missing:
        raise ModelError(
            f"the model needs layer {missing[0]!r}, which is not among {sorted(layers)}; "
            f"`carbonmap ingest` it for that region and date, or train with other --inputs"
        )
    shapes = {layers[name].shape for name in spec.layers}
    smallest = 2 * spec.halo + 1
    if len(shapes) > 1 or any(len(s) != 2 or min(s) < smallest for s in shapes):
        raise ModelError(
            f"layers have shapes {sorted(shapes)}; they should share one (row, col) of at least "
            f"{smallest} pixels a side, the tile with a halo of {spec.halo} pixels"
        )
    row, col = shapes.pop()
    return row - 2 * spec.halo, col - 2 * spec.halo


def _pixel_features(layers: Bands, spec: FeatureSpec, pixel_m: float) -> dict[str, Floats]:
    """The features of pixels by themselves, float64, with the halo still on."""
    own: dict[str, Floats] = {}
    if "image" in spec.inputs:
        bands = {name: layers[name].astype(np.float64) for name in BANDS}
        own.update(bands)
        if spec.indices:
            own.update({i: _difference(bands[a], bands[b]) for i, (a, b) in INDICES.items()})
    if "terrain" in spec.inputs:
        east, north = horn_gradient(layers["elevation"], pixel_m)
        own["elevation"] = layers["elevation"].astype(np.float64)
        own["slope"] = np.sqrt(east * east + north * north)
        own["rise_east"], own["rise_north"] = east, north
    if "canopy-height" in spec.inputs:
        own["canopy_height"] = layers["canopy_height"].astype(np.float64)
    return own


def _difference(one: Floats, other: Floats) -> Floats:
    """``(a − b) / (a + b)`` in [−1, 1]; 0 where the sum is not positive.

    Reflectance after atmospheric correction may dip below zero, and the ratio then run away.
    """
    total = one + other
    lit = total > 0
    ratio = np.divide(one - other, total, out=np.zeros_like(total), where=lit)
    return np.clip(ratio, -1.0, 1.0)


def _planes(own: dict[str, Floats], valid: Bool, spec: FeatureSpec) -> Iterator[Floats]:
    """Every feature of the tile, in the order of ``spec.names``; anything where it is not valid."""
    for values in own.values():
        yield _trim(values, spec.halo)
    for radius in spec.radii:
        spare = spec.halo - radius
        count = np.maximum(window_sum(_trim(valid, spare), radius), 1)
        for name, values in own.items():
            yield from _window(_trim(values, spare), count, radius, spec.statistics(name))


def _window(
    values: Floats, count: Floats, radius: int, statistics: tuple[str, ...]
) -> Iterator[Floats]:
    """Statistics of the valid pixels around each; `values` are 0 where they are not valid."""
    mean = window_sum(values, radius) / count
    for statistic in statistics:
        if statistic == "mean":
            yield mean
        elif statistic == "above":
            yield _trim(values, radius) - mean
        else:
            variance = window_sum(values * values, radius) / count - mean * mean
            yield np.sqrt(np.maximum(variance, 0))


def _trim(array: NDArray[Scalar], margin: int) -> NDArray[Scalar]:
    """Without `margin` pixels on every side."""
    return array[margin : array.shape[0] - margin, margin : array.shape[1] - margin]
