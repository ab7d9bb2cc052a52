"""What a network sees of a tile: the layers' own values, standardised, and where they are known."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from carbonmap.features import FeatureSpec, features, strips
from carbonmap.settings import STRICT, Spec
from carbonmap.types import Bands, Floats

KNOWN = "known"
"""Name of the last channel: 1 where every layer is known, else 0."""

CLIP = 8.0
"""Standardised values are cut here. Of normal ones none lies beyond; a specular roof or a sensor's
spike does, and would shake every activation around it."""

FLAT = 1e-6
"""Spread of a channel, as a share of its size, from which it counts as constant: that is where
float32 no longer tells its values apart."""


LEAST_SHARE = 1e-5
"""Least eigenvalue of the channels' correlations, as a share of the largest, that whitening tells
from rounding: float32 reflectance holds 1e-7, its square 1e-14, and sensors 10 bits, 1e-6."""


def _known_kinds(kinds: tuple[str, ...]) -> tuple[str, ...]:
    return FeatureSpec(inputs=kinds).inputs


@dataclass(frozen=True, config=STRICT)
class Inputs:
    """Which layers a network reads.

    Of the terrain it sees slope and gradient besides the elevation: they mean the same at every
    height, while from elevation alone a network learns the place by heart.

    Args:
        kinds: of layers, of `features.INPUTS`; kept in that order, whatever the order given.
    """

    kinds: Annotated[tuple[str, ...], AfterValidator(_known_kinds)] = ("image", "terrain")

    @property
    def features(self) -> FeatureSpec:
        """The same as features of single pixels; a network finds ratios and windows itself."""
        return FeatureSpec(inputs=self.kinds, radii=(), indices=False)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that `encode` needs."""
        return self.features.layers

    @property
    def halo(self) -> int:
        """Pixels by which the layers must reach beyond what is encoded."""
        return self.features.halo

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels, in the order in which `encode` stacks them."""
        return (*self.features.names, KNOWN)


@dataclass(frozen=True, config=STRICT)
class Normalisation(Spec):
    """How channels are made alike and unlike each other, over the pixels that a model learned from.

        z = W (x − mean) / spread,   W = R^(−1/2), R the correlations of the channels

    Bands resemble each other, and what tells one forest from another is their small differences,
    which a network must first learn to see where channels are standardised alone. Zero-phase, so
    that a channel stays the one most like its layer (Bell & Sejnowski 1997).

    Args:
        mean: in the layers' own units, ``(channel,)``.
        spread: standard deviation, likewise; 1 for a channel that was constant.
        whitening: W by rows, ``(channel, channel)``; empty for none.
    """

    mean: tuple[float, ...]
    spread: tuple[Annotated[float, Field(gt=0)], ...]
    whitening: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        wide = len(self.mean)
        if wide != len(self.spread):
            raise ValueError(f"there are {wide} means and {len(self.spread)} spreads")
        if self.whitening and [wide] * wide != [len(row) for row in self.whitening]:
            raise ValueError(f"`whitening` should have {wide} rows of {wide} numbers")


@dataclasses.dataclass(frozen=True)
class Moments:
    """Count, mean and summed products of pixels; those of parts add to the whole's.

    Args:
        count: of pixels.
        mean: ``(channel,)``, float64.
        products: ``Σ (x − mean)(x − mean)ᵀ``, ``(channel, channel)``, likewise.
    """

    count: int
    mean: Floats
    products: Floats

    @classmethod
    def of(cls, x: Floats) -> Moments:
        """Those of pixels, ``(pixel, channel)``; of none where there is no pixel."""
        wide = x.shape[1]
        if not len(x):
            return cls(0, np.zeros(wide), np.zeros((wide, wide)))
        mean = x.mean(axis=0, dtype=np.float64)
        apart = x - mean
        return cls(len(x), mean, apart.T @ apart)

    def __add__(self, other: Moments) -> Moments:
        """Chan, Golub & LeVeque 1983, eq. 2.1: no difference of large sums."""
        count = self.count + other.count
        if not count:
            return self
        apart = other.mean - self.mean
        mean = self.mean + apart * (other.count / count)
        products = np.outer(apart, apart) * (self.count * other.count / count)
        return Moments(count, mean, self.products + other.products + products)

    def normalisation(self) -> Normalisation:
        """Means, spreads and whitening; at least one pixel was counted."""
        covariance = self.products / self.count
        spread = np.sqrt(np.diag(covariance))
        constant = spread <= FLAT * np.abs(self.mean)
        spread[constant] = 1.0
        correlation = covariance / np.outer(spread, spread)
        correlation[constant] = correlation[:, constant] = 0.0
        correlation[constant, constant] = 1.0
        values, vectors = np.linalg.eigh(correlation)
        root = np.sqrt(np.maximum(values, LEAST_SHARE * values.max()))
        rows = (vectors / root) @ vectors.T
        return Normalisation(
            tuple(self.mean.tolist()), tuple(spread.tolist()), tuple(map(tuple, rows.tolist()))
        )


def encode(
    layers: Bands, inputs: Inputs, norm: Normalisation, pixel_m: float, lost: Sequence[str] = ()
) -> Floats:
    """The channels of a tile; a pixel's depend on the window of its halo alone.

    Args:
        layers: at least ``inputs.layers``, each ``(row + 2 halo, col + 2 halo)``; NaN is nodata.
        inputs: which channels.
        norm: theirs, but for `KNOWN`.
        pixel_m: edge of a pixel, m.
        lost: channels that are given what the others let expect, as if nothing were known of them:
            with u standardised and Λ = WᵀW, ``u_lost = −Λ_ll⁻¹ Λ_lk u_kept``, 0 without whitening.

    Returns:
        Float32, ``(channel, row, col)`` in the order of ``inputs.channels``, within ±`CLIP`; 0 in
        every channel where some layer is NaN.

    Raises:
        ModelError: a layer is missing, or the layers are no tile with that halo.
    """
    spec, (high, wide) = inputs.features, layers[inputs.layers[0]].shape
    out = np.zeros((len(inputs.channels), high - 2 * spec.halo, wide - 2 * spec.halo), np.float32)
    mean, spread = (np.array(v, np.float32)[:, None, None] for v in (norm.mean, norm.spread))
    hidden = [number for number, name in enumerate(spec.names) if name in lost]
    for rows, strip in strips(layers, out.shape[1], spec.halo):
        own = features(strip, spec, pixel_m)
        known = np.isfinite(own[0])
        own = np.clip((own - mean) / spread, -CLIP, CLIP)
        own[hidden] = _expected(own, hidden, norm)
        out[:-1, rows] = np.where(known, _whitened(own, norm), np.float32(0))
        out[-1, rows] = known
    return out


def _expected(own: Floats, lost: Sequence[int], norm: Normalisation) -> Floats:
    """Mean of some standardised channels given the others, ``(lost, row, col)``."""
    out = np.zeros((len(lost), *own.shape[1:]), np.float32)
    if norm.whitening and lost:
        kept = [number for number in range(len(own)) if number not in lost]
        joined = np.array(norm.whitening)
        precision = joined.T @ joined
        weights = -np.linalg.solve(precision[np.ix_(lost, lost)], precision[np.ix_(lost, kept)])
        for plane, row in zip(out, weights, strict=True):
            for weight, number in zip(row, kept, strict=True):
                plane += np.float32(weight) * own[number]
    return out


def _whitened(own: Floats, norm: Normalisation) -> Floats:
    """Standardised channels as the whitening joins them, cut again.

    One channel added after the other, since a matrix product's rounding depends on its shape.
    """
    if not norm.whitening:
        return own
    out = np.zeros_like(own)
    for plane, row in zip(out, norm.whitening, strict=True):
        for weight, channel in zip(row, own, strict=True):
            plane += np.float32(weight) * channel
    return np.clip(out, -CLIP, CLIP, out=out)
