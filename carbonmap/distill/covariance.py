"""How a network's features vary within an image: covariances of many layers, in one pass.

Yu et al. (IIDM), appendix B. The paper finds each layer's basis by gradient descent; all that the
answer depends on are the sums below, so they are taken once, in float64, and nothing is learned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from carbonmap.errors import ModelError

CONSTANT = 1e-12
"""An image whose features have less than this share of their mean square as variance is constant:
a few times the square of what float32 rounds (6e-8)."""

B = TypeVar("B")


@dataclass(frozen=True, eq=False)
class Tap:
    """Where features are: what a module gives or, `entering`, what it is given first."""

    module: nn.Module
    entering: bool = False


@dataclass(frozen=True, eq=False)
class Moments:
    """What one layer's features are like over a set of images; all float64, on the CPU.

    With F̄_k the features of image k less their mean over its pixels, Σ_k = F̄_k F̄_kᵀ / pixels.
    The paper leaves the division out, which is the same where images are of one size.

    Args:
        images: how many were seen.
        varied: in how many of them the features vary at all.
        covariance: mean over all images of Σ_k, ``(C, C)``.
        spread: covariance over all pixels of all images, differences between images included.
        share: mean over those that vary of Σ_k / tr Σ_k, ``(C, C)``; every image counts alike.
        spectrum: mean over those that vary of the eigenvalues of Σ_k / tr Σ_k, falling, ``(C,)``:
            eq. 15.
        mean: of the features, ``(C,)``.
        active: share of values above 0, ``(C,)``.
    """

    images: int
    varied: int
    covariance: Tensor
    spread: Tensor
    share: Tensor
    spectrum: Tensor
    mean: Tensor
    active: Tensor

    @property
    def channels(self) -> int:
        """C, the layer's channels."""
        return len(self.mean)

    @property
    def variance(self) -> float:
        """Mean over images of tr Σ_k: what all channels together vary."""
        return float(self.covariance.trace())


def centred(features: Tensor) -> Tensor:
    """F̄: features less each image's mean over its pixels; ``(image, channel, row, col)``."""
    return features - features.mean(dim=(-2, -1), keepdim=True)


@contextmanager
def listening(taps: Mapping[str, Tap], hear: Callable[[str, Tensor], None]) -> Iterator[None]:
    """While it is open, `hear` is told each tap's name and features whenever its module runs."""

    def hook(name: str, tap: Tap) -> RemovableHandle:
        if tap.entering:
            return tap.module.register_forward_pre_hook(lambda _, inputs: hear(name, inputs[0]))
        return tap.module.register_forward_hook(lambda _, __, output: hear(name, output))

    handles = [hook(name, tap) for name, tap in taps.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def observe(
    run: Callable[[B], object], taps: Mapping[str, Tap], batches: Iterable[B]
) -> dict[str, Moments]:
    """Moments of many layers' features, in one pass over the images.

    The order of images and how they are cut into batches matter only to rounding. Besides the
    network it holds three C × C matrices a layer.

    Args:
        run: the network, or a function that runs it on a batch.
        taps: where the features are, by name; all in eval mode.
        batches: whatever `run` takes, each used once.

    Returns:
        By the names of `taps`, in their order.

    Raises:
        ModelError: a layer is in training mode, gives no ``(image, channel, row, col)``, never ran,
            or gave NaN or infinity.
    """
    for name, tap in taps.items():
        if tap.module.training:
            raise ModelError(f"{name} is in training mode: call `eval()` on its network first")
    sums: dict[str, _Sums] = {}

    def hear(name: str, features: Tensor) -> None:
        if features.ndim != 4:
            raise ModelError(
                f"{name} gives features of shape {tuple(features.shape)}; "
                f"they must be (image, channel, row, col): choose another layer"
            )
        sums.setdefault(name, _Sums(features)).add(features)

    with torch.no_grad(), listening(taps, hear):
        for batch in batches:
            run(batch)
    if silent := [name for name in taps if name not in sums]:
        raise ModelError(
            f"{', '.join(silent)} never ran: give images, and layers of the network that runs"
        )
    return {name: sums[name].moments(name) for name in taps}


class _Sums:
    """Running sums behind one layer's `Moments`, on the device of its features."""

    def __init__(self, features: Tensor) -> None:
        channels = features.shape[1]
        zeros = torch.zeros(channels, dtype=torch.float64, device=features.device)
        self.images = self.varied = 0
        self.covariance = torch.zeros(channels, channels, dtype=torch.float64, device=zeros.device)
        self.share = torch.zeros_like(self.covariance)
        self.between = torch.zeros_like(self.covariance)
        self.spectrum, self.mean, self.active = zeros.clone(), zeros.clone(), zeros.clone()

    def add(self, features: Tensor) -> None:
        """One batch more; image by image, so that only one is held in float64."""
        for image in features.flatten(2):
            f = image.double()
            mean = f.mean(1)
            self.images += 1
            self.mean += mean
            self.between += mean.outer(mean)
            self.active += (f > 0).double().mean(1)
            square = float(f.square().mean(1).sum())
            f = (f - mean[:, None]) / f.shape[1] ** 0.5
            covariance = f @ f.T
            self.covariance += covariance
            variance = float(covariance.trace())
            if variance > CONSTANT * square:
                self.varied += 1
                self.share += covariance / variance
                self._add_spectrum(f, covariance, variance)

    def _add_spectrum(self, f: Tensor, covariance: Tensor, variance: float) -> None:
        """Eigenvalues from the smaller of F̄F̄ᵀ and F̄ᵀF̄: the others are 0."""
        few = f.shape[1] < f.shape[0]
        values = torch.linalg.eigvalsh(f.T @ f if few else covariance).flip(0).clamp(min=0)
        self.spectrum[: len(values)] += values / variance

    def moments(self, name: str) -> Moments:
        """The means.

        Raises:
            ModelError: some feature was NaN or infinite.
        """
        if not self.covariance.isfinite().all():
            raise ModelError(
                f"{name} gave NaN or infinite features: the network or its images are damaged"
            )
        n, v = self.images, max(self.varied, 1)
        mean, within = self.mean / n, self.covariance / n
        spread = within + self.between / n - mean.outer(mean)
        found = (within, spread, self.share / v, self.spectrum / v, mean, self.active / n)
        return Moments(n, self.varied, *(value.cpu() for value in found))
