"""How far a map lies from the truth.

Sums that add: those of tiles make those of the map, up to the rounding of 64-bit floats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from skimage.metrics import structural_similarity

from carbonmap.errors import GridMismatch, ModelError
from carbonmap.types import Floats, Json, Raster
from carbonmap.windows import window_sum

SSIM_SIGMA = 1.5
"""Standard deviation of the Gaussian window, pixels (Wang et al. 2004, IEEE TIP 13, 600)."""

SSIM_RADIUS = 5
"""Half the 11 pixels of that window; scikit-image cuts it at 3.5 σ, which is the same."""


@dataclass(frozen=True)
class Errors:
    """Errors of pairs of prediction and truth; ``a + b`` is that of both sets together.

    Args:
        count: pairs in which both are known.
        missing: pairs in which only the truth is, which the other figures leave out.
        bias_sum: Σ (prediction − truth).
        absolute_sum: Σ |prediction − truth|.
        square_sum: Σ (prediction − truth)².
        truth_mean: mean of the truth over the pairs counted.
        truth_spread: Σ (truth − mean)², about the mean so that it does not cancel.
    """

    count: int = 0
    missing: int = 0
    bias_sum: float = 0.0
    absolute_sum: float = 0.0
    square_sum: float = 0.0
    truth_mean: float = 0.0
    truth_spread: float = 0.0

    def __add__(self, other: Errors) -> Errors:
        count = self.count + other.count
        share = other.count / count if count else 0.0
        apart = other.truth_mean - self.truth_mean
        return Errors(
            count,
            self.missing + other.missing,
            self.bias_sum + other.bias_sum,
            self.absolute_sum + other.absolute_sum,
            self.square_sum + other.square_sum,
            self.truth_mean + apart * share,
            self.truth_spread + other.truth_spread + apart * apart * self.count * share,
        )

    @property
    def bias(self) -> float:
        """Mean of prediction − truth; NaN of nothing, as all that follow."""
        return _ratio(self.bias_sum, self.count)

    @property
    def mae(self) -> float:
        """Mean absolute error."""
        return _ratio(self.absolute_sum, self.count)

    @property
    def rmse(self) -> float:
        """Root of the mean square error."""
        return math.sqrt(_ratio(self.square_sum, self.count))

    @property
    def r2(self) -> float:
        """``1 − Σ e² / Σ (truth − mean)²``; NaN where the truth does not vary."""
        return 1 - _ratio(self.square_sum, self.truth_spread)

    def psnr(self, data_range: float) -> float:
        """Peak signal-to-noise ratio, ``20 log₁₀(range / RMSE)``, dB; infinite without error.

        Args:
            data_range: what counts as the peak, in the units of the data.
        """
        rmse = self.rmse
        return math.inf if rmse == 0 else 20 * math.log10(data_range / rmse)

    def to_json(self, scale: float) -> Json:
        """Every figure by name, those with a unit in Mg C/ha and on the 0–1 scale.

        Args:
            scale: density that counts as 1, Mg C/ha; PSNR's data range is that, or 1.
        """
        figures = {
            "mae_mg_c_ha": self.mae,
            "rmse_mg_c_ha": self.rmse,
            "bias_mg_c_ha": self.bias,
            "mae_01": self.mae / scale,
            "rmse_01": self.rmse / scale,
            "bias_01": self.bias / scale,
            "r2": self.r2,
            "psnr_db": self.psnr(scale),
        }
        known = {k: v if math.isfinite(v) else None for k, v in figures.items()}
        return {"pixels": self.count, "pixels_missing": self.missing} | known


def errors(prediction: Floats, truth: Floats) -> Errors:
    """Errors of one set of pairs.

    Args:
        prediction: any shape; NaN where unknown.
        truth: same shape and unit; NaN where unknown.

    Raises:
        GridMismatch: the shapes differ.
    """
    if prediction.shape != truth.shape:
        raise GridMismatch("prediction", got=prediction.shape, want=truth.shape)
    known = np.isfinite(truth)
    both = known & np.isfinite(prediction)
    t = truth[both].astype(np.float64)
    if not t.size:
        return Errors(missing=int(known.sum()))
    e = prediction[both] - t
    mean = float(t.mean())
    return Errors(
        t.size,
        int(known.sum()) - t.size,
        float(e.sum()),
        float(np.abs(e).sum()),
        float((e * e).sum()),
        mean,
        float(((t - mean) ** 2).sum()),
    )


@dataclass(frozen=True)
class Similarity:
    """Structural similarity summed over pixels; ``a + b`` is that of both sets together."""

    count: int = 0
    total: float = 0.0

    def __add__(self, other: Similarity) -> Similarity:
        return Similarity(self.count + other.count, self.total + other.total)

    @property
    def mean(self) -> float:
        """Mean SSIM, at most 1; NaN where no pixel had its whole window."""
        return _ratio(self.total, self.count)


def similarity(prediction: Raster, truth: Raster, data_range: float) -> Similarity:
    """SSIM (Wang et al. 2004, eq. 13) over the pixels whose whole 11×11 window is known in both.

    The constants of the formula scale with the range, so that a map in Mg C/ha with its own scale
    and one on 0–1 with a range of 1 have the same similarity.

    Args:
        prediction: with `SSIM_RADIUS` pixels of halo, ``(row + 10, col + 10)``; NaN where unknown.
        truth: same shape and unit.
        data_range: in their unit.

    Returns:
        Of the pixels within the halo.

    Raises:
        GridMismatch: the shapes differ.
        ModelError: they are smaller than one window.
    """
    if prediction.shape != truth.shape:
        raise GridMismatch("prediction", got=prediction.shape, want=truth.shape)
    side = 2 * SSIM_RADIUS + 1
    if min(truth.shape) < side:
        raise ModelError(
            f"similarity needs tiles of at least {side}×{side} pixels, halo included; "
            f"this one is {truth.shape[0]}×{truth.shape[1]}"
        )
    known = np.isfinite(prediction) & np.isfinite(truth)
    whole = window_sum(known, SSIM_RADIUS) == side * side
    if not whole.any():
        return Similarity()
    _, image = structural_similarity(  # type: ignore[no-untyped-call]
        np.where(known, prediction, 0).astype(np.float64),
        np.where(known, truth, 0).astype(np.float64),
        data_range=data_range,
        gaussian_weights=True,
        sigma=SSIM_SIGMA,
        use_sample_covariance=False,
        full=True,
    )
    inner = image[SSIM_RADIUS:-SSIM_RADIUS, SSIM_RADIUS:-SSIM_RADIUS][whole]
    return Similarity(int(inner.size), float(inner.sum()))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else math.nan
