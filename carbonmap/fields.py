"""Random fields as functions of place: a point has one value, whoever asks and however it is cut.

Nothing here holds a state. A value follows from whole lattice numbers and a key through a hash,
so that tiles, their order, their shape and the number of threads cannot change it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from carbonmap.grid import Grid
from carbonmap.types import Floats, Ints

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""Step of the Weyl sequence in splitmix64: 2⁶⁴ ÷ golden ratio, odd."""

Sample = Callable[[float, int], Floats]
"""A smooth field at fixed places: from knot spacing and key to values."""


def field_key(seed: int, *names: str | int) -> int:
    """The 64-bit key of one field: a seed, and the names that tell the field from its siblings."""
    text = "\x1f".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def places(grid: Grid) -> tuple[Ints, Ints]:
    """Lattice rows, shape ``(row, 1)``, and columns, shape ``(1, col)``, of a grid's pixels."""
    rows = grid.row + np.arange(grid.height)
    cols = grid.col + np.arange(grid.width)
    return rows[:, None], cols[None, :]


def bits(rows: Ints, cols: Ints, key: int) -> NDArray[np.uint64]:
    """64 random bits per lattice place: splitmix64 (Steele et al. 2014), one stream per row.

    Args:
        rows: lattice rows, any sign, broadcastable against `cols`.
        cols: lattice columns, any sign.
        key: which field, from `field_key`.

    Returns:
        One word per place, in the broadcast shape.
    """
    with np.errstate(over="ignore"):
        start = _mix(_words(rows) * GOLDEN + np.uint64(key))
        return _mix(start + _words(cols) * GOLDEN)


def uniform(rows: Ints, cols: Ints, key: int) -> NDArray[np.float64]:
    """Uniform on (0, 1), both ends open, one value per lattice place; arguments as for `bits`."""
    top = bits(rows, cols, key) >> np.uint64(12)  # 52 bits, so that the half below stays exact
    return np.asarray((top.astype(np.float64) + 0.5) * 2.0**-52)


def normal(rows: Ints, cols: Ints, key: int) -> NDArray[np.float64]:
    """Standard normal, one value per lattice place; arguments as for `bits`.

    The quantile of `uniform`: each value comes from its own place alone, by scalar code, so that no
    vector length or pairing (as in Box–Muller) enters.
    """
    return np.asarray(ndtri(uniform(rows, cols, key)), dtype=np.float64)


def smooth(y: Floats, x: Floats, spacing: float, key: int) -> NDArray[np.float32]:
    """A smooth normal field on the raster that the coordinates span.

    Cubic B-splines over standard normal knots, divided by the root of their squared weights, so
    that every single value is exactly N(0, 1) distributed; features are about twice `spacing` wide.

    Args:
        y: coordinates of the rows, shape ``(row,)``.
        x: coordinates of the columns, shape ``(col,)``, same unit.
        spacing: distance between knots, same unit.
        key: which field.

    Returns:
        Shape ``(row, col)``.
    """
    rows, row_weights = _taps(y, spacing)
    cols, col_weights = _taps(x, spacing)
    r = np.unique(rows[:, None] + np.arange(4))  # with wide pixels not every knot is reached
    c = np.unique(cols[:, None] + np.arange(4))
    knots = normal(r[:, None], c[None, :], key).astype(np.float32)
    across = _blend(knots.T, np.searchsorted(c, cols), col_weights.astype(np.float32)).T
    down = np.searchsorted(r, rows)
    return _blend(np.ascontiguousarray(across), down, row_weights.astype(np.float32))


def smooth_at(y: Floats, x: Floats, spacing: float, key: int) -> NDArray[np.float64]:
    """The field of `smooth` at scattered points; `y` and `x` have one shape, and so has the result.

    The raster is computed in single precision, so the two agree to about 1e-6.
    """
    rows, row_weights = _taps(y, spacing)
    cols, col_weights = _taps(x, spacing)
    total = np.zeros(np.shape(y))
    for i in range(4):
        for j in range(4):
            total += row_weights[i] * col_weights[j] * normal(rows + i, cols + j, key)
    return total


def fractal(sample: Sample, spacing: float, key: int, octaves: int, gain: float = 0.5) -> Floats:
    """Octaves of a smooth field, each half as wide and `gain` times as strong, scaled to N(0, 1).

    Args:
        sample: the field at the places wanted, such as ``partial(smooth, y, x)``.
        spacing: knots of the widest octave.
        key: which field; octaves get keys of their own.
        octaves: how many.
        gain: strength of an octave ÷ that of the one before.

    Returns:
        In the shape that `sample` gives; variance exactly 1 at every place.
    """
    strengths = gain ** np.arange(octaves)
    strengths /= np.sqrt(np.sum(strengths**2))
    total: Floats = sample(spacing, field_key(key, 0)) * strengths[0].item()
    for k in range(1, octaves):
        total += sample(spacing / 2**k, field_key(key, k)) * strengths[k].item()
    return total


def _words(numbers: Ints) -> NDArray[np.uint64]:
    return np.asarray(numbers).astype(np.int64).view(np.uint64)


def _mix(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64 (Stafford's variant 13): every bit in sways every bit out."""
    words = words ^ (words >> np.uint64(30))
    words *= np.uint64(0xBF58476D1CE4E5B9)
    words ^= words >> np.uint64(27)
    words *= np.uint64(0x94D049BB133111EB)
    words ^= words >> np.uint64(31)
    return words


def _taps(at: Floats, spacing: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """First of the four knots that reach each coordinate, and their weights, shape ``(4, …)``."""
    scaled = np.asarray(at, dtype=np.float64) / spacing
    below = np.floor(scaled)
    t = scaled - below
    s = 1 - t
    weights = np.stack([s * s * s, 3 * t * t * (t - 2) + 4, 3 * s * s * (s - 2) + 4, t * t * t])
    weights /= np.sqrt(np.sum(weights * weights, axis=0))
    return below.astype(np.int64) - 1, weights


def _blend(
    values: NDArray[np.float32], first: NDArray[np.int64], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Weighted sum of four neighbouring rows.

    Elementwise, since a matrix product would round differently for every shape.
    """
    total: NDArray[np.float32] = values[first] * weights[0, :, None]
    for k in range(1, 4):
        total += values[first + k] * weights[k, :, None]
    return total
