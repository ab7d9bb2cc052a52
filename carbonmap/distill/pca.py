"""Global eigenbases of a layer's features, and how many channels hold a share of their variance.

Yu et al. (IIDM), appendix B, eq. 8–10 and 14–15; Chiu & Gurari 2022.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from carbonmap.distill.covariance import Moments
from carbonmap.errors import ModelError

VARIANCE = 0.85
"""Share of a layer's variance that its channels must exceed (IIDM 4.3 and table A2)."""


@dataclass(frozen=True, eq=False)
class Basis:
    """A layer's principal directions, whole; the first c of them are W of eq. 8–9 for c channels.

    Args:
        directions: orthonormal rows, the strongest first, ``(C, C)`` float64. A row's largest
            entry is positive, so that the same moments always give the same basis.
        variances: along each, falling, ``(C,)``.
        spread: standard deviation along each, differences between images included, ``(C,)``.
        mean: of the features, ``(C,)``.
        active: share of each channel's values above 0, ``(C,)``.
    """

    directions: Tensor
    variances: Tensor
    spread: Tensor
    mean: Tensor
    active: Tensor

    def w(self, channels: int) -> Tensor:
        """W: the first `channels` directions, ``(channels, C)``.

        Raises:
            ModelError: there are not so many.
        """
        if not 1 <= channels <= len(self.directions):
            raise ModelError(
                f"a basis of {len(self.directions)} directions has no {channels} channels: "
                f"ask for 1 to {len(self.directions)}"
            )
        return self.directions[:channels]

    def floor(self, channels: int) -> float:
        """Mean over images of ‖WᵀW F̄ − F̄‖² a pixel: the least that eq. 9 and 11 can reach."""
        self.w(channels)
        return float(self.variances[channels:].sum())


def eigenbasis(moments: Moments) -> Basis:
    """The basis that solves eq. 8 and 9 exactly: eigenvectors of the mean covariance.

    The paper descends by gradient over 200 epochs to the same place. It is the mean of Σ_k as it
    is, since eq. 9's loss is; an image with strong features weighs more than one with weak.
    """
    values, vectors = torch.linalg.eigh(moments.covariance)
    rows = vectors.T.flip(0)
    largest = rows.gather(1, rows.abs().argmax(1, keepdim=True))
    rows = (rows * largest.sign()).contiguous()
    spread = ((rows @ moments.spread) * rows).sum(1).clamp(min=0).sqrt()
    return Basis(rows, values.flip(0).clamp(min=0), spread, moments.mean, moments.active)


def explained(basis: Basis, moments: Moments) -> Tensor:
    """EV(c) = mean_k tr(W_c Σ_k W_cᵀ) / tr Σ_k for every c, rising to 1; ``(C,)``.

    What one basis for all images explains, each image counting alike. It needs no Σ_k of its own:
    the mean goes inside the trace. Departs from eq. 14, which gives each image its own basis and so
    promises more than any single W keeps; that one is `explained_apart`.

    Raises:
        ModelError: the features vary in no image.
    """
    _require_variance(moments)
    rows = basis.directions
    along = ((rows @ moments.share) * rows).sum(1).clamp(min=0).cumsum(0)
    return along / along[-1]


def explained_apart(moments: Moments) -> Tensor:
    """mCEV(c), eq. 14: mean over images of each one's own cumulative spectrum; ``(C,)``.

    Raises:
        ModelError: the features vary in no image.
    """
    _require_variance(moments)
    total = moments.spectrum.cumsum(0)
    return total / total[-1]


def fewest(curve: Tensor, variance: float) -> int:
    """The smallest number of channels whose share on a rising curve exceeds `variance`.

    Raises:
        ModelError: `variance` is not above 0 and at most 1; at 1 all channels are kept.
    """
    if not 0 < variance <= 1:
        raise ModelError(f"variance is {variance}; it is a share of all: give above 0, at most 1")
    return min(int((curve <= variance).sum()) + 1, len(curve))


def _require_variance(moments: Moments) -> None:
    if not moments.varied:
        raise ModelError(
            "a layer's features are constant in every image, so nothing of it can be distilled: "
            "train the teacher, or give images that vary"
        )
