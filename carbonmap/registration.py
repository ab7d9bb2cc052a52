"""Whether a scene lies where it should: shifts of patches against a reference layer.

A shift is how far the scene must be moved to lie on the reference: rows down, columns right, in
pixels. A scene that lies two rows too far north has the shift (2, 0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass as checked
from scipy import ndimage
from skimage.registration import phase_cross_correlation

from carbonmap.errors import GridMismatch
from carbonmap.settings import STRICT
from carbonmap.types import Bool, Raster

UPSAMPLE = 50
"""Steps of a pixel in which the peak is sought: 0.02, a fifth of what the estimate is good for."""

EDGE_PX = 1.5
"""Width of the Gaussian under the gradients: edges as fields and roads have them at 16 m, without
the noise of single pixels."""

REACH_PX = 5
"""Pixels around a missing one whose gradients it would touch: three widths of the Gaussian."""

FADE_PX = 10
"""Pixels over which a texture fades in beside holes: both layers have the same ones, and a sharp
edge that does not move would pull the peak to where it stands."""

NEGLIGIBLE = 1e-9
"""Mean square of a texture below which there is none but rounding; an edge's is near 1."""

MAD = 1.4826
"""Standard deviation of a normal distribution ÷ its median absolute deviation."""


@checked(frozen=True, config=STRICT)
class MatchSettings:
    """What is believed of patches.

    Args:
        valid: least share of a patch that both layers must show.
        confidence: least correlation of the two textures at the peak. Patches without common
            texture reach 0.1 by chance (128 × 128 pixels).
        most_px: largest shift believed; scenes that lie off by more need another cure.
        patches: least number of patches that agree.
        outlier: robust standard deviations from the median at which a patch counts no more.
        agree_px: robust standard deviation that is granted however little the patches scatter.
        scatter_px: largest robust standard deviation of a decision; relief that the camera model
            does not know scatters patches, and then one shift for the scene is no cure.
    """

    valid: Annotated[float, Field(gt=0, le=1)] = 0.5
    confidence: Annotated[float, Field(ge=0, le=1)] = 0.2
    most_px: Annotated[float, Field(gt=0)] = 20.0
    patches: Annotated[int, Field(ge=2)] = 5
    outlier: Annotated[float, Field(gt=0)] = 3.0
    agree_px: Annotated[float, Field(gt=0)] = 0.25
    scatter_px: Annotated[float, Field(gt=0)] = 1.0


@dataclass(frozen=True)
class PatchShift:
    """What one patch says; rows and columns as the module's shift, NaN where nothing was found.

    Args:
        rows: down, px.
        cols: right, px.
        confidence: correlation of the two textures once they lie on each other, 0 to 1.
    """

    rows: float
    cols: float
    confidence: float


NO_SHIFT = PatchShift(float("nan"), float("nan"), 0.0)
"""Of a patch that cannot tell."""


@dataclass(frozen=True)
class Shift:
    """What a scene's patches say together.

    Args:
        rows: how far down the scene must be moved, px; None where the patches do not decide.
        cols: likewise, to the right.
        spread: scatter of the patches that agree, px, by the median absolute deviation; None where
            none agree.
        patches: how many agree.
        reason: why there is no decision, as a sentence; empty where there is one.
    """

    rows: float | None
    cols: float | None
    spread: float | None
    patches: int
    reason: str = ""


def patch_places(shape: tuple[int, int], size: int, count: int) -> tuple[tuple[slice, slice], ...]:
    """Squares spread evenly over an image, in raster order; always the same ones.

    Args:
        shape: of the image.
        size: edge of a patch, px.
        count: how many at least, where the image has room for them side by side; else as many as
            it has room for, none if it is smaller than one.
    """
    room = [n // size for n in shape]
    if min(room) < 1:
        return ()
    rows = min(room[0], max(1, round((count * shape[0] / shape[1]) ** 0.5)))
    cols = min(room[1], -(-count // rows))
    rows = min(room[0], -(-count // cols))
    starts = [
        np.rint((np.arange(n) + 0.5) * (length - n * size) / n + np.arange(n) * size).astype(int)
        for n, length in zip((rows, cols), shape, strict=True)
    ]
    return tuple(
        (slice(r, r + size), slice(c, c + size))
        for r in starts[0].tolist()
        for c in starts[1].tolist()
    )


def patch_shift(reference: Raster, moving: Raster, settings: MatchSettings) -> PatchShift:
    """The shift of one patch by phase correlation of its texture, to about a tenth of a pixel.

    Of each image the orientation of its edges is kept, ``g² / (|g|² + m²)`` with the complex
    gradient g and its median strength m (after Fitch et al. 2002, orientation correlation). Gain,
    offset and reversed contrast drop out, so that other dates and other bands still match, and a
    cloud's edge counts no more than a road's. The peak is refined as in Guizar-Sicairos et al.
    (2008), on what the two share once the whole pixels are taken off.

    Args:
        reference: ``(row, col)``; NaN is nodata.
        moving: the scene there, same shape; clouds may stay in, and had better be NaN.
        settings: what is believed.

    Returns:
        `NO_SHIFT` where too little is valid or the shift is past `MatchSettings.most_px`. It is for
        `combine` to judge the confidence.

    Raises:
        GridMismatch: the shapes differ.
    """
    if reference.shape != moving.shape:
        raise GridMismatch("a patch", got=moving.shape, want=reference.shape)
    found = _peak(reference, moving, settings.valid, 1)
    whole = (0, 0) if found is None else (round(found.rows), round(found.cols))
    if found is None or max(map(abs, whole)) > settings.most_px:
        return NO_SHIFT
    on_reference, on_moving = _shared(whole, reference.shape)
    rest = _peak(reference[on_reference], moving[on_moving], settings.valid, UPSAMPLE)
    if rest is None:
        return NO_SHIFT
    rows, cols = whole[0] + rest.rows, whole[1] + rest.cols
    if max(abs(rows), abs(cols)) > settings.most_px:
        return NO_SHIFT
    return PatchShift(rows, cols, rest.confidence)


def combine(shifts: Sequence[PatchShift], settings: MatchSettings) -> Shift:
    """The shift of a scene: the median of the patches that agree.

    A patch counts if its confidence suffices and it lies within `MatchSettings.outlier` robust
    standard deviations (1.4826 × the median absolute deviation, at least `agree_px`) of the median
    in both directions; the rest are clouds, changed land or chance.

    Returns:
        No decision, with its reason, where fewer than `MatchSettings.patches` or fewer than half of
        the patches with a say agree, or those that do scatter past `MatchSettings.scatter_px`.
    """
    sure = [s for s in shifts if s.confidence >= settings.confidence and np.isfinite(s.rows)]
    if len(sure) < settings.patches:
        return Shift(
            None,
            None,
            None,
            len(sure),
            f"{len(sure)} of {len(shifts)} patches have a texture in common with the reference "
            f"(correlation of at least {settings.confidence:g}); {settings.patches} are needed",
        )
    found = np.array([(s.rows, s.cols) for s in sure])
    off = np.abs(found - np.median(found, axis=0))
    bound = settings.outlier * np.maximum(MAD * np.median(off, axis=0), settings.agree_px)
    agree = (off <= bound).all(axis=1)
    if not agree.any():
        return Shift(None, None, None, 0, f"{len(sure)} patches agree on no shift")
    rows, cols = np.median(found[agree], axis=0)
    off = np.abs(found[agree] - (rows, cols))
    spread = float(MAD * np.median(off, axis=0).max())
    count = int(agree.sum())
    needed = max(settings.patches, -(-len(sure) // 2))
    if count < needed:
        reason = f"only {count} of {len(sure)} patches agree on a shift; {needed} are needed"
        return Shift(None, None, spread, count, reason)
    if spread > settings.scatter_px:
        reason = (
            f"the shifts of {count} patches scatter by {spread:.2g} px, and one shift for the "
            f"whole scene is no cure past {settings.scatter_px:g} px"
        )
        return Shift(None, None, spread, count, reason)
    return Shift(float(rows), float(cols), spread, count)


def _shared(
    whole: tuple[int, int], shape: tuple[int, ...]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """What reference and scene share once the scene is moved by whole pixels."""
    pairs = list(zip(whole, shape, strict=True))
    on_reference = tuple(slice(max(0, step), n + min(0, step)) for step, n in pairs)
    on_moving = tuple(slice(max(0, -step), n - max(0, step)) for step, n in pairs)
    return on_reference, on_moving


def _peak(reference: Raster, moving: Raster, valid: float, upsample: int) -> PatchShift | None:
    """Where the textures match best; None where too little is known, or nothing but one tone."""
    known = np.isfinite(reference) & np.isfinite(moving)
    depth = _depth(known)
    inside = depth > REACH_PX
    if known.mean() < valid or not inside.any():
        return None
    ramp = np.clip((depth - REACH_PX) / FADE_PX, 0, 1)
    weight = np.sin(np.pi / 2 * ramp) ** 2
    weight *= np.outer(*(np.hanning(n + 2)[1:-1] for n in known.shape))
    here, there = (_texture(image, known, inside, weight) for image in (reference, moving))
    power = np.sqrt(np.sum(np.abs(here) ** 2) * np.sum(np.abs(there) ** 2))
    if power < NEGLIGIBLE * known.size:
        return None
    shift, *_ = phase_cross_correlation(  # type: ignore[no-untyped-call]
        here, there, upsample_factor=upsample
    )
    moved = np.fft.ifftn(ndimage.fourier_shift(np.fft.fftn(there), shift))
    alike = float(np.sum(here * moved.conj()).real / power)
    return PatchShift(float(shift[0]), float(shift[1]), min(1.0, max(0.0, alike)))


def _depth(known: Bool) -> Raster:
    """Distance to the next missing pixel, px; without end where there is none."""
    if known.all():
        return np.full(known.shape, np.inf)
    return np.asarray(ndimage.distance_transform_edt(known))


def _texture(
    image: Raster, known: Bool, inside: Bool, weight: Raster
) -> NDArray[np.complexfloating[Any, Any]]:
    """Orientation of edges, faded out towards the patch's border and holes; mean 0."""
    tone = np.where(known, image, np.mean(image[known], dtype=np.float64)).astype(np.float64)
    down = ndimage.gaussian_filter(tone, EDGE_PX, order=(1, 0))
    right = ndimage.gaussian_filter(tone, EDGE_PX, order=(0, 1))
    squared = (right + 1j * down) ** 2
    usual = np.median(np.abs(squared)[inside])
    strength = np.abs(squared) + usual
    texture = np.divide(squared, strength, out=np.zeros_like(squared), where=strength > 0)
    return np.asarray(weight * (texture - np.sum(texture * weight) / np.sum(weight)))
