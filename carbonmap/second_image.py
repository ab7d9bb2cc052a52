"""A second image of land that is known: other light, other noise, some of it as if it had changed.

With it a change is simulated whose truth is known (`change`): the model is shown held-out land as a
later image would show it. Canopy height is not exchanged: it has no date, and a model that leans on
it sees less of a change, as it does on real land.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import hadamard
from scipy.ndimage import convolve

from carbonmap.fields import field_key, normal, places, uniform
from carbonmap.grid import Grid
from carbonmap.types import Bool, Floats, Ints, Raster

SQUARE_PX = 32
"""Edge of the squares that are exchanged: 512 m of 16 m pixels, about a stand."""

RIM_PX = 2
"""Of a square, not counted: slopes at its seams are those of no land."""

LEAST_KNOWN = 0.5
"""Share of a square's pixels that are known, for it to be exchanged or to tell of noise."""

MOVED_SHARE = 0.25
"""Of the squares, those that are exchanged: what is around one mostly stays, as on real land."""


@dataclass(frozen=True)
class Exchange:
    """Which pixel's land each pixel of a tile shows.

    Args:
        rows: of the pixel shown, ``(row, col)``.
        cols: its columns.
        moved: whether that is another one, and the seams are not near.
        rise: to be added to heights that are shown elsewhere, m: each square keeps its mean, so
            that there are no steps of mountains between squares.
    """

    rows: Ints
    cols: Ints
    moved: Bool
    rise: Floats

    @classmethod
    def of(cls, part: Grid, known: Bool, number: int, height: Raster | None = None) -> Exchange:
        """Squares of the lattice that lie whole in a tile, some of them shown as others.

        Lots of their places choose them. Each is shown as the next higher one, the highest as the
        lowest, so that hardly any is shown a forest that does not grow there.

        Args:
            part: the tile.
            known: where its labels are, ``(row, col)``.
            number: of the simulated image; each exchanges others.
            height: of the land, m, same shape; without it, lots say which is next.
        """
        squares = _Squares.of(part)
        rows, cols = np.indices(part.shape)
        row, col = np.ogrid[: squares.shape[0], : squares.shape[1]]
        place = squares.first[0] + row, squares.first[1] + col
        chosen = uniform(*place, field_key(number, "moved")) < MOVED_SHARE
        chosen &= squares.mean(known) >= LEAST_KNOWN
        if height is not None:
            chosen &= squares.mean(np.isfinite(height)) == 1
        level = np.zeros(squares.shape) if height is None else squares.mean(np.nan_to_num(height))
        order = uniform(*place, field_key(number, "order")) if height is None else level
        mine = np.flatnonzero(chosen)
        mine = mine[np.argsort(order.ravel()[mine], kind="stable")]
        shown = np.arange(chosen.size)
        shown[mine] = np.roll(mine, -1)
        other = np.divmod(shown.reshape(chosen.shape), max(squares.shape[1], 1))
        for pixels, theirs, own in zip((rows, cols), other, (row, col), strict=True):
            pixels += squares.spread((theirs - own) * SQUARE_PX)
        rise = squares.spread(level - level.ravel()[shown].reshape(chosen.shape))
        chosen &= len(mine) > 1
        return cls(rows, cols, squares.spread(chosen, rim=RIM_PX), rise)

    def shown(self, values: Raster, halo: int = 0) -> Raster:
        """A layer as it is after the exchange; the land in the halo stays.

        Args:
            values: ``(row + 2 halo, col + 2 halo)``.
            halo: pixels around the tile.
        """
        out = values.copy()
        inner = tuple(slice(halo, halo + n) for n in self.rows.shape)
        out[inner] = values[inner][self.rows, self.cols]
        return out

    def heights(self, values: Raster, halo: int = 0) -> Raster:
        """Heights after the exchange, m, as `shown`."""
        out = self.shown(values, halo)
        out[tuple(slice(halo, halo + n) for n in self.rows.shape)] += self.rise.astype(out.dtype)
        return out


@dataclass(frozen=True)
class _Squares:
    """Squares of the lattice that lie whole in a tile.

    Args:
        tile: its shape.
        first: row and column of the first square, in squares.
        start: row and column of its first pixel in the tile.
        shape: ``(row, col)`` of squares.
    """

    tile: tuple[int, int]
    first: tuple[int, int]
    start: tuple[int, int]
    shape: tuple[int, int]

    @classmethod
    def of(cls, part: Grid) -> _Squares:
        start = -part.row % SQUARE_PX, -part.col % SQUARE_PX
        shape = tuple(max(0, n - s) // SQUARE_PX for n, s in zip(part.shape, start, strict=True))
        first = (part.row + start[0]) // SQUARE_PX, (part.col + start[1]) // SQUARE_PX
        return cls(part.shape, first, start, (shape[0], shape[1]))

    @property
    def _inner(self) -> tuple[slice, slice]:
        (top, left), (rows, cols) = self.start, self.shape
        return slice(top, top + rows * SQUARE_PX), slice(left, left + cols * SQUARE_PX)

    def mean(self, values: Raster | Bool) -> Floats:
        """Of every square, from pixels ``(row, col)``."""
        rows, cols = self.shape
        cut = values[self._inner].reshape(rows, SQUARE_PX, cols, SQUARE_PX)
        return np.asarray(cut.mean((1, 3), dtype=np.float64))

    def spread(self, values: Any, rim: int = 0) -> Any:
        """Every square's value on its pixels but a rim, 0 elsewhere."""
        out = np.zeros(self.tile, dtype=values.dtype)
        on = np.zeros(SQUARE_PX, dtype=bool)
        on[rim : SQUARE_PX - rim] = True
        block = on[:, None] & on
        out[self._inner] = np.kron(values, block)
        return out


def lights(bands: int, error: float) -> Floats:
    """By how much the bands of second images are lighter than the first, ``(image, band)``.

        L = 1 + error · H,   Hᵀ H = images · I

    H are columns of a Hadamard matrix, all ±1, and of its mirror image, since densities end at 0
    and so answer more to one side: over these images the mean square of whatever answers bands
    linearly is that of errors which are independent from band to band, each with a standard
    deviation of `error`, whichever bands it is that a model leans on.
    """
    half = hadamard(1 << max(0, bands - 1).bit_length())[:, :bands].astype(np.float64)
    return np.asarray(1 + error * np.concatenate([half, -half]))


def grain(part: Grid, values: Raster) -> Floats:
    """Noise of a band in every square of a tile: its standard deviation, in the band's unit.

        σ = √(π/2) / 6 · mean |I ∗ N|,   N = [1 −2 1; −2 4 −2; 1 −2 1]

    (Immerkær 1996, Computer Vision and Image Understanding 64, 300): N takes slopes and curves out.
    Texture stays, so that the smoothest squares tell most.

    Returns:
        Of the squares without many gaps, shape ``(square,)``.
    """
    line = np.array([1.0, -2.0, 1.0])
    left = np.abs(convolve(np.asarray(values, np.float64), np.outer(line, line), mode="nearest"))
    squares, known = _Squares.of(part), np.isfinite(left)
    share = squares.mean(known).ravel()
    total = squares.mean(np.where(known, left, 0.0)).ravel()
    enough = share >= LEAST_KNOWN
    return np.asarray(total[enough] / share[enough] * (math.sqrt(math.pi / 2) / 6))


def regrained(part: Grid, values: Raster, band: str, number: int, noise: float) -> Floats:
    """A band of the same land with other noise in it, as grainy as before.

        h = I − mean over 3 × 3,   I′ = I − h + ρ h + √(1 − ρ²) √p n,   ρ = 1 − 8/9 σ² / p

    p is h's mean square around, texture and noise, of which 8/9 of the noise is in h; two images
    with the same texture have h of correlation ρ. n is new noise without its mean over 3 × 3.

    Args:
        part: of the band.
        values: the band, ``(row, col)``; near gaps it stays as it is.
        band: its name, by which noise is drawn.
        number: of the image, likewise.
        noise: σ, in the band's unit.
    """
    fine = _fine(np.asarray(values, np.float64))
    known = np.isfinite(fine)
    held = np.where(known, fine, 0.0)
    power = convolve(np.square(held), np.full((9, 9), 1 / 81), mode="nearest")
    inner = 8 / 9  # of white noise, what its mean over 3 × 3 leaves
    alike = 1 - inner * noise**2 / np.maximum(power, inner * noise**2 + np.finfo(float).tiny)
    drawn = normal(*places(part.padded(1)), field_key(number, "grain", band))
    new = _fine(drawn)[1:-1, 1:-1] / math.sqrt(inner)
    change = (alike - 1) * held + np.sqrt((1 - np.square(alike)) * power) * new
    return np.asarray(values + np.where(known, change, 0.0))


def _fine(values: Floats) -> Floats:
    """Values less their mean over 3 × 3."""
    return np.asarray(values - convolve(values, np.full((3, 3), 1 / 9), mode="nearest"))
