"""Change of carbon density between two dates, and how far it may err.

Both maps are by one model, whose errors on land that stayed as it was are alike at both dates and
all but go out of the difference; on land that changed they do not. With m₁ and m₂ the mapped
densities, Δ = m₂ − m₁ and σ(m) how far a map errs at a density (`correlation`):

    SD² = s²  +  c² (σ(m₁)² + σ(m₂)²) [|Δ| > z s]

s is what maps of land that stayed differ by, by density; z s holds 95 % of it, so that a change
beyond is significant; c is by how much more than independent errors of both maps a change errs that
is seen. Draws that share their noise differ by less than s: what two maps have in common says
nothing of how both err. So s, z and c are found on simulated change (`Exchange`): held-out land
whose labels are known is shown to the model a second time, in another light (`light`), with noise
of its own (`grain`), and some of its squares as if they were other squares.

Canopy height is not exchanged: it has no date, and a model that leans on it sees less of a change,
as it does on real land.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pydantic
from pydantic import Field, TypeAdapter
from scipy.ndimage import convolve, maximum_filter

from carbonmap.correlation import Cells, Structure, deviation
from carbonmap.fields import field_key, normal, places, uniform
from carbonmap.grid import Grid
from carbonmap.settings import STRICT
from carbonmap.types import Bool, Floats, Ints, Json, Raster
from carbonmap.uncertainty import Z95

SQUARE_PX = 32
"""Edge of the squares that are exchanged: 512 m of 16 m pixels, about a stand."""

RIM_PX = 2
"""Of a square, not counted: slopes at its seams are those of no land."""

LEAST_KNOWN = 0.5
"""Share of a square's pixels whose labels are known, for it to be exchanged."""

APART_PX = 16
"""From squares that are exchanged to land that counts as having stayed: models look around."""

MOVED_SHARE = 0.1
"""Of the squares, those that are exchanged: more would be in the sight of those that stay."""

SURE = 0.95
"""Share of the pixels that z s, and 1.96 SD, are to hold."""

LEAST_Z = 1e-6
"""So that maps that are all alike have no change."""

NONE, LOSS, GAIN = 0, 1, 2
"""Of the significance map; `UNKNOWN` where a date has no value."""

UNKNOWN = 255


@dataclass(frozen=True)
class Exchange:
    """Which pixel's land each pixel of a tile shows.

    Args:
        rows: of the pixel shown, ``(row, col)``.
        cols: its columns.
        moved: whether that is another one, and the seams are not near.
        stays: whether it is not, nor any one near.
        rise: to be added to heights that are shown elsewhere, m: each square keeps its mean, so
            that there are no steps of mountains between squares.
    """

    rows: Ints
    cols: Ints
    moved: Bool
    stays: Bool
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
        if len(mine) < 2:
            chosen[:] = False
        near = maximum_filter(squares.spread(chosen), 2 * APART_PX + 1)
        return cls(rows, cols, squares.spread(chosen, rim=RIM_PX), ~near, rise)

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


def light(band: str, number: int, error: float) -> float:
    """What a second image of the same reflectance shows of it: 1 + a relative error.

    One for a scene's band, normal with standard deviation `error`; images come in pairs whose
    errors are opposite, so that over an even number of them no band is lighter on average.
    """
    none = np.zeros(1, np.int64)
    drawn = normal(none, none, field_key(number // 2, "light", band)).item()
    return 1 + error * (drawn if number % 2 == 0 else -drawn)


def grain(part: Grid, values: Raster) -> Floats:
    """Noise of a band in every square of a tile: its standard deviation, in the band's unit.

        σ = √(π/2) / 6 · mean |I ∗ N|,   N = [1 −2 1; −2 4 −2; 1 −2 1]

    (Immerkær 1996, Computer Vision and Image Understanding 64, 300): N takes slopes and curves out.
    Texture stays, so that the smoothest squares tell most.

    Returns:
        Of the squares without a gap, shape ``(square,)``.
    """
    line = np.array([1.0, -2.0, 1.0])
    left = np.abs(convolve(np.asarray(values, np.float64), np.outer(line, line), mode="nearest"))
    found = _Squares.of(part).mean(left).ravel() * (math.sqrt(math.pi / 2) / 6)
    return np.asarray(found[np.isfinite(found)])


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


@pydantic.dataclasses.dataclass(frozen=True, config=STRICT)
class ChangeError:
    """How far a mapped change errs, as found on simulated change.

    Args:
        still: of maps of land that stayed: s by the mean of both densities, and how alike they
            differ by distance.
        maps: of a map against labels: σ, and how alike what changed errs.
        seen: c.
        z95: z.
    """

    still: Structure
    maps: Structure
    seen: Annotated[float, Field(ge=0)]
    z95: Annotated[float, Field(gt=0)]

    def by_chance(self, before: Raster, after: Raster) -> Floats:
        """What maps of land that stayed differ by: s, Mg C/ha; 0 where a date has no value."""
        return self.still.sigma((before + after) / 2)

    def significant(self, before: Raster, after: Raster) -> Ints:
        """`LOSS` or `GAIN` where maps of land that stayed would differ by less in 95 of 100 pixels.

        Returns:
            uint8, `NONE` elsewhere, `UNKNOWN` where a date has no value.
        """
        change = np.asarray(after, np.float64) - before
        beyond = np.abs(change) > self.z95 * self.by_chance(before, after)
        out = np.where(beyond, np.where(change < 0, LOSS, GAIN), NONE)
        return np.where(np.isfinite(change), out, UNKNOWN).astype(np.uint8)

    def of_seen(self, before: Raster, after: Raster) -> Floats:
        """How far both maps err where the change is significant, Mg C/ha; 0 elsewhere."""
        seen = np.isin(self.significant(before, after), (LOSS, GAIN))
        both = np.hypot(self.maps.sigma(before), self.maps.sigma(after))
        return np.where(seen, self.seen * both, 0.0)

    def deviation(self, before: Raster, after: Raster) -> Floats:
        """SD of every pixel, Mg C/ha; NaN where a date has no value."""
        both = np.hypot(self.by_chance(before, after), self.of_seen(before, after))
        return np.where(np.isfinite(before) & np.isfinite(after), both, np.nan)

    def of_area(
        self, cells: Cells, chance: tuple[Floats, float], seen: tuple[Floats, float]
    ) -> tuple[float, float]:
        """Standard deviations of an area's change: of land that stayed, and of what is seen.

        Args:
            cells: over the pixels.
            chance: Σ a s of every cell and Σ (a s)² over the pixels, a their land.
            seen: likewise of what `of_seen` tells.
        """
        return deviation(self.still, cells, *chance), deviation(self.maps, cells, *seen)

    def to_json(self) -> Json:
        """Plain values for `from_json`."""
        return dict(json.loads(TypeAdapter(ChangeError).dump_json(self)))

    @classmethod
    def from_json(cls, values: Json) -> ChangeError:
        """That of plain values.

        Raises:
            ValueError: they are none's.
        """
        return TypeAdapter(cls).validate_json(json.dumps(values))


def found(
    still: Structure, maps: Structure, moved: Bool, first: Floats, second: Floats, true: Floats
) -> ChangeError:
    """Of simulated change: z holds 95 % of what stayed, and c of what changed and is seen to have.

    Args:
        still: of maps of land that stayed.
        maps: of a map against labels.
        moved: whether a pixel was shown as another; shape ``(pixel,)`` like all others.
        first: mapped before, Mg C/ha.
        second: mapped after.
        true: change of the labels, 0 where nothing moved.
    """
    chance = still.sigma((first + second) / 2)
    stayed, least = ~moved, np.finfo(float).tiny
    ratio = np.abs(second - first)[stayed] / np.maximum(chance[stayed], least)
    whole = ChangeError(still, maps, 1.0, max(float(np.quantile(ratio, SURE)), LEAST_Z))
    both = whole.of_seen(first, second)
    seen = moved & (both > 0)
    if not seen.any():
        return whole
    over = np.square((second - first - true)[seen] / Z95) - np.square(chance[seen])
    c = np.quantile(np.sqrt(np.maximum(over, 0)) / both[seen], SURE)
    return dataclasses.replace(whole, seen=float(c))
