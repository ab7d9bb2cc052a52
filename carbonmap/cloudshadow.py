"""Where clouds throw their shadows: cloud height searched along the light, object by object.

In an orthorectified image a cloud at height H stands aside from where it is, away from the
satellite, and its shadow falls away from the sun; both grow with H alone. So each cloud is moved
along one line until it covers dark land best (Zhu & Woodcock 2012).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass as checked
from scipy import ndimage

from carbonmap.settings import STRICT
from carbonmap.types import Bool, Floats, Ints, Plots, Raster

Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]


@checked(frozen=True, config=STRICT)
class ShadowSettings:
    """How shadows are sought.

    Args:
        heights_m: lowest and highest cloud over the land; Fmask's 200 m and 12 km.
        dark_share: NIR ÷ that of the land around below which land counts as dark. Clouds leave a
            fifth to a half of NIR in their shadow, and less contrast in the visible bands, where
            the sky's light fills it.
        around_m: edge of the box that is "the land around": much wider than one shadow, narrower
            than the change of land from valley to mountain.
        piece_m: a cloud wider than this is matched in pieces, since the land's height and its own
            differ along it.
        lead: by how much the share of dark land under a shadow must lead that of the land around.
            Fmask's similarity of 0.3 counts all dark land, this only what is more than usual.
        tuft_m: clouds of less than the square of this are matched together, square by square.
        neighbours: pieces near by whose heights tell what to expect of one: the clouds of a field
            float at one level, or at a few.
    """

    heights_m: tuple[float, float] = (200.0, 12000.0)
    dark_share: Share = 0.7
    around_m: Positive = 5000.0
    piece_m: Positive = 2500.0
    lead: Share = 0.2
    tuft_m: Positive = 1500.0
    neighbours: Annotated[int, Field(ge=0)] = 24


SEEN_DARK = 0.8
"""Share of a true shadow that looks dark; the rest is bright soil, or not where the shape says."""

RARE = 0.02
"""Shares of dark land are kept this far from 0 and 1, so that one pixel is never proof."""

SAMPLE_PX = 128
"""Pixels by which a piece of cloud is matched at most, evenly taken: a share is then known to 4 %,
and the search of a full scene takes seconds."""

TRUST = 0.03
"""Weight of a pixel's evidence: the pixels of a valley are dark together, so that thirty say little
more than one. Chosen, as those below, on simulated scenes of several layers, soft edges, oblique
views, lakes and steep land; twice or half as much changes their scores by some hundredths."""

ROUNDS = 5
"""Of the search for common heights; ten change little more."""

SPREAD = 1.0
"""Pixels by which the shadows of clouds of one layer are out of place: the land is not level."""

ANY = 0.1
"""Share of clouds that float at a height of their own."""

CHANCE_PX = 1.0
"""Dark pixels more than usual that prove nothing, as where a shadow barely enters the scene."""


@dataclass(frozen=True)
class Direction:
    """Where a light or an eye is, seen from the ground.

    Args:
        zenith: angle from the vertical, radians; one number, or one a pixel, ``(row, col)``,
            then finite everywhere.
        azimuth: clockwise from grid north, radians; likewise.
    """

    zenith: Floats | float
    azimuth: Floats | float

    def offset(self) -> tuple[Floats, Floats]:
        """Metres east and north that a line from here towards it runs for each metre of height."""
        flat = np.tan(self.zenith)
        return np.asarray(flat * np.sin(self.azimuth)), np.asarray(flat * np.cos(self.azimuth))


@dataclass(frozen=True)
class Shadows:
    """What the search found.

    Args:
        shadow: pixels in the shadow of a cloud and not under one, ``(row, col)``.
        height: of each piece of cloud over the land, m, ``(piece,)``; NaN where none convinced.
        piece: number of the piece at each pixel, ``(row, col)``; −1 where there is no cloud.
    """

    shadow: Bool
    height: Plots
    piece: Ints


@dataclass(frozen=True)
class _Pieces:
    """Cloud pixels sorted by piece: rows, columns, their piece, and each piece's first one."""

    row: Ints
    col: Ints
    piece: Ints
    first: Ints

    def __len__(self) -> int:
        return self.first.size

    @property
    def centre(self) -> tuple[Floats, Floats]:
        """Mean row and column of every piece."""
        count = np.bincount(self.piece)
        return np.bincount(self.piece, self.row) / count, np.bincount(self.piece, self.col) / count

    def sample(self) -> _Pieces:
        """At most `SAMPLE_PX` pixels of each, evenly over its raster order."""
        count = np.diff(np.append(self.first, self.row.size))
        rank = np.arange(self.row.size) - np.repeat(self.first, count)
        size = np.minimum(count, SAMPLE_PX)[self.piece]
        whole = count[self.piece]
        kept = (rank * size) // whole != ((rank - 1) * size) // whole
        first = np.searchsorted(self.piece[kept], np.arange(len(self)))
        return _Pieces(self.row[kept], self.col[kept], self.piece[kept], first)


def dark_level(nir: Raster, cloud: Bool, pixel_m: float, settings: ShadowSettings) -> Raster:
    """NIR below which land is dark for its surroundings, float32 ``(row, col)``.

    `ShadowSettings.dark_share` of the mean over a box of `around_m`, clouds left out and, in a
    second round, what the first found dark, so that a field of shadows does not pass for dark land.
    NaN where the box holds no clear pixel.
    """
    size = _odd(settings.around_m / pixel_m)
    land = np.isfinite(nir) & ~cloud
    level = settings.dark_share * _mean_around(nir, land, size)
    bright = settings.dark_share * _mean_around(nir, land & ~(nir < level), size)
    return np.where(np.isfinite(bright), bright, level).astype(np.float32)


def find_shadows(
    cloud: Bool,
    dark: Bool,
    land: Bool,
    sun: Direction,
    view: Direction,
    pixel_m: float,
    settings: ShadowSettings,
) -> Shadows:
    """Shadows of clouds on a whole (reduced) scene.

        shadow − cloud = H [tan θ_v (sin φ_v, cos φ_v) − tan θ_s (sin φ_s, cos φ_s)]   east, north

    For every piece of cloud and every height H, in steps of one pixel at most, the evidence is the
    log-likelihood that the land under the moved piece is in shadow, Σ log P(seen | shadow) /
    P(seen | land around); what `land` leaves out has no say. With the heights that are common near
    by it gives the likeliest height. The piece's shadow is there if its share of dark land leads
    that of the land around by `ShadowSettings.lead`; else it gets none, since a guessed one would
    take good land away. Not found: shadows of clouds beyond the scene, and any where the sun
    stands behind the satellite and clouds hide them.

    Departs from Fmask, which takes the height of most overlap of each object by itself: a tuft
    finds dark land in any valley.

    Args:
        cloud: ``(row, col)``, grid north up, as seen (displaced by the view).
        dark: where land is dark for its surroundings; see `dark_level`.
        land: where that could be seen and has no other reason (terrain shadow, water), same shape.
        sun: direction of the sun.
        view: direction of the satellite.
        pixel_m: edge of a pixel, m.
        settings: bounds of the search.
    """
    pieces, number = _pieces(cloud, pixel_m, settings)
    moves = _moves(pieces, cloud.shape, sun, view, pixel_m)
    heights = _heights(moves, settings)
    if not heights.size:
        return Shadows(np.zeros(cloud.shape, bool), np.full(len(pieces), np.nan), number)
    seen = land & ~cloud
    usual = _mean_around(dark, seen, _odd(settings.around_m / pixel_m))
    usual = np.clip(np.nan_to_num(usual, nan=0.5), RARE, 1 - RARE)
    weight = np.where(dark, np.log(SEEN_DARK / usual), np.log((1 - SEEN_DARK) / (1 - usual)))
    weight = np.where(seen, weight, 0).astype(np.float32)
    lead = np.where(seen, dark - usual, 0).astype(np.float32)

    sample = pieces.sample()
    evidence = np.empty((len(pieces), heights.size), np.float32)
    for h, height in enumerate(heights):
        evidence[:, h] = _under(sample, np.full(len(pieces), height), moves, weight)
    best = heights[_likeliest(evidence, pieces, settings.neighbours)]
    leads, counts = (_under(pieces, best, moves, raster) for raster in (lead, seen))
    height = np.where(leads > settings.lead * counts + CHANCE_PX, best, np.nan)
    return Shadows(_cast(pieces, height, moves, cloud.shape) & ~cloud, height, number)


def _odd(size: float) -> int:
    return 2 * round(size / 2) + 1


def _mean_around(values: Raster | Bool, where: Bool, size: int) -> Raster:
    """Mean over a box of `size` pixels, of the pixels that count; NaN where none does."""
    total = ndimage.uniform_filter(np.where(where, values, 0).astype(np.float64), size)
    share = ndimage.uniform_filter(where.astype(np.float64), size)
    few = share < 0.5 / size**2  # running sums leave rounding where there is nothing
    return np.asarray(np.divide(total, share, out=np.full(where.shape, np.nan), where=~few))


def _pieces(cloud: Bool, pixel_m: float, settings: ShadowSettings) -> tuple[_Pieces, Ints]:
    """Objects (8-connected), large ones cut by a mesh of `piece_m`, small joined by `tuft_m`."""
    objects, _ = ndimage.label(cloud, structure=np.ones((3, 3)))
    row, col = np.nonzero(cloud)
    number = np.full(cloud.shape, -1, np.int32)
    _, first, key, size = np.unique(
        objects[row, col], return_index=True, return_inverse=True, return_counts=True
    )
    small = size[key] < (settings.tuft_m / pixel_m) ** 2
    at = np.where(small, first[key], np.arange(row.size))  # a small one goes by its first pixel
    mesh = np.where(small, *(max(1.0, m / pixel_m) for m in (settings.tuft_m, settings.piece_m)))
    cell = (row[at] // mesh) * cloud.shape[1] + col[at] // mesh
    key = np.where(small, 0, key + 1) * cloud.size + cell.astype(np.int64)
    _, piece = np.unique(key, return_inverse=True)
    number[row, col] = piece
    order = np.argsort(piece, kind="stable")
    piece = piece[order]
    first = np.searchsorted(piece, np.arange(piece[-1] + 1 if piece.size else 0))
    return _Pieces(row[order], col[order], piece, first), number


def _moves(
    pieces: _Pieces, shape: tuple[int, ...], sun: Direction, view: Direction, pixel_m: float
) -> tuple[Floats, Floats]:
    """Rows down and columns right from a piece to its shadow for each metre of height."""
    at = tuple(np.rint(c).astype(int) for c in pieces.centre)
    offsets = [np.broadcast_to(o, shape)[at] for o in (*view.offset(), *sun.offset())]
    view_east, view_north, sun_east, sun_north = offsets
    return -(view_north - sun_north) / pixel_m, (view_east - sun_east) / pixel_m


def _heights(moves: tuple[Floats, Floats], settings: ShadowSettings) -> Floats:
    """Heights to try, so that no shadow moves more than a pixel between two; none if none moves."""
    fastest = np.hypot(*moves).max(initial=0.0)
    low, high = settings.heights_m
    if fastest * high < 1:
        return np.empty(0)
    return np.linspace(low, high, 2 + int((high - low) * fastest))


def _moved(
    pieces: _Pieces, height: Floats, moves: tuple[Floats, Floats], shape: tuple[int, ...]
) -> tuple[Ints, Bool]:
    """Flat index of every pixel moved by its piece's height, and whether that is in the scene."""
    rows, cols = (np.rint(height * move).astype(np.int64)[pieces.piece] for move in moves)
    row, col = pieces.row + rows, pieces.col + cols
    inside = (row >= 0) & (row < shape[0]) & (col >= 0) & (col < shape[1])
    return np.where(inside, row * shape[1] + col, 0), inside


def _under(
    pieces: _Pieces, height: Floats, moves: tuple[Floats, Floats], raster: Raster | Bool
) -> Plots:
    """Sum of a raster under every piece moved by its height, ``(piece,)``."""
    index, inside = _moved(pieces, height, moves, raster.shape)
    under = np.where(inside, raster.ravel()[index], 0)
    return np.asarray(np.add.reduceat(under, pieces.first, dtype=np.float64))


def _likeliest(evidence: Floats, pieces: _Pieces, neighbours: int) -> Ints:
    """Number of the height of each piece, given its evidence and its neighbours' heights.

    Empirical Bayes: the prior of a height is how likely it is, on average, for the pieces near by;
    it starts even and is found in `ROUNDS` rounds.
    """
    near = _neighbours(pieces, neighbours)
    log_prior: Floats = np.zeros_like(evidence)
    for _ in range(ROUNDS):
        likely = TRUST * evidence + log_prior
        likely = np.exp(likely - likely.max(axis=1, keepdims=True))
        likely /= likely.sum(axis=1, keepdims=True)
        prior = likely.copy()
        for column in near:
            prior += likely[column]
        prior = ndimage.gaussian_filter1d(prior, SPREAD, axis=1, mode="nearest") / (1 + len(near))
        log_prior = np.log(prior + ANY / evidence.shape[1])
    return np.asarray((TRUST * evidence + log_prior).argmax(axis=1))


def _neighbours(pieces: _Pieces, count: int) -> list[Ints]:
    """For each rank, the piece that is every piece's neighbour of that rank."""
    from scipy.spatial import cKDTree  # takes longer to load than most scenes to be found done

    count = min(count, len(pieces) - 1)
    if count <= 0:
        return []
    places = np.column_stack(pieces.centre)
    return list(cKDTree(places).query(places, count + 1)[1].T[1:])


def _cast(
    pieces: _Pieces, height: Plots, moves: tuple[Floats, Floats], shape: tuple[int, ...]
) -> Bool:
    """The shadows of all pieces whose height is known."""
    index, inside = _moved(pieces, np.nan_to_num(height), moves, shape)
    index = index[inside & np.isfinite(height)[pieces.piece]]
    shadow = np.zeros(shape[0] * shape[1], bool)
    shadow[index] = True
    return shadow.reshape(shape)
