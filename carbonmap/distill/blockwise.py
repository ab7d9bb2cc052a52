"""Blockwise training: each part of a student learns its teacher's features, the earlier ones held.

Yu et al. (IIDM), appendix B, eq. 11–13; Chiu & Gurari 2022. The paper's norms are sums; here each
is a mean over images and pixels, divided by what the teacher's features vary, so that one learning
rate and equal weights serve all layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from carbonmap.distill.covariance import centred
from carbonmap.errors import ModelError
from carbonmap.settings import STRICT, Spec


@dataclass(frozen=True, config=STRICT)
class Blockwise(Spec):
    """How long and fast each block learns.

    Args:
        steps: batches a block.
        learning_rate: of Adam at first; it falls to 0 along a cosine. Chiu & Gurari hold 1e-4 over
            ten epochs from a random start; a projected start and a falling rate take fewer steps
            at a higher one.
        rebuilding: weight, in what moves an encoder block, of its decoder's losses (eq. 12); the
            paper's is 1. At 1 the decoders, which start from nothing, pulled a projected VGG-11
            away from its teacher: eq. 11 rose from 0.30 to 0.47 of the first layer's variance in
            150 steps, where at 0 it fell to 0.27. The decoders themselves always learn in full.
    """

    steps: Annotated[int, Field(ge=0)] = 500
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    rebuilding: Annotated[float, Field(ge=0, le=1)] = 0.1


@dataclass(frozen=True, config=STRICT)
class LayerReport(Spec):
    """How well one layer of a student gives its teacher's features.

    Args:
        name: of the features.
        channels: the teacher's.
        kept: the student's.
        variance: the teacher's, all channels together; mean over the images held out.
        before: eq. 11, in the same unit, before the block learned.
        loss: eq. 11 afterwards.
        floor: the least that the basis allows on those images, ‖WᵀW F̄ − F̄‖².
        image: mean square error of the images that the decoders rebuild, or None without them.
    """

    name: str
    channels: int
    kept: int
    variance: float
    before: float
    loss: float
    floor: float
    image: float | None = None


def feature_loss(student: Tensor, teacher: Tensor, w: Tensor) -> Tensor:
    """Eq. 11 a pixel: mean over images and pixels of ‖Wᵀ F̄ᵉ − F̄‖²; never below `feature_floor`.

    Args:
        student: Fᵉ, ``(image, c, row, col)``.
        teacher: F, ``(image, C, row, col)``.
        w: W, ``(c, C)``, orthonormal rows.
    """
    lifted = torch.einsum("ec,bexy->bcxy", w.to(student), centred(student))
    return (lifted - centred(teacher)).square().sum(1).mean()


def feature_floor(teacher: Tensor, w: Tensor) -> Tensor:
    """What eq. 11 comes to when a student gives W F̄ exactly: mean of ‖WᵀW F̄ − F̄‖²."""
    return feature_loss(project(teacher, w), teacher, w)


def project(teacher: Tensor, w: Tensor) -> Tensor:
    """W F."""
    return torch.einsum("ec,bcxy->bexy", w.to(teacher), teacher)


def excess(student: Tensor, teacher: Tensor, w: Tensor) -> Tensor:
    """Eq. 11 above its floor: mean of ‖F̄ᵉ − W F̄‖², to which it is equal as W Wᵀ = I (Pythagoras).

    The same gradient in c channels instead of C: what training descends.
    """
    return (centred(student) - project(centred(teacher), w)).square().sum(1).mean()


@contextmanager
def learning(network: nn.Module, blocks: Iterable[nn.Module] = ()) -> Iterator[list[nn.Parameter]]:
    """While it is open, only these blocks of a network take gradients, and none drops anything.

    The rest is held as it predicts: its batch norms keep their statistics. Afterwards the network
    is in eval mode, and takes gradients where it did before.
    """
    took = {p: p.requires_grad for p in network.parameters()}
    network.eval().requires_grad_(False)
    parameters = []
    for block in blocks:
        block.train().requires_grad_(True)
        parameters += list(block.parameters())
        for module in block.modules():
            if isinstance(module, nn.Dropout | nn.Dropout2d):
                module.eval()
    try:
        yield parameters
    finally:
        network.eval()
        for parameter, takes in took.items():
            parameter.requires_grad_(takes)


def descend(
    parameters: Iterable[nn.Parameter], losses: Iterator[Tensor], settings: Blockwise, name: str
) -> None:
    """Adam along a cosine, one step for each loss that is drawn.

    Raises:
        ModelError: the batches ended too soon, or a loss is not finite.
    """
    adam = torch.optim.Adam(list(parameters), lr=settings.learning_rate)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(adam, max(settings.steps, 1))
    for step in range(settings.steps):
        loss = next(losses, None)
        if loss is None:
            raise ModelError(
                f"{name} learned from {step} batches and there were no more: want "
                f"{settings.steps} for each block, so give batches without end"
            )
        if not loss.isfinite():
            raise ModelError(
                f"{name} came to a loss of {float(loss)} at step {step}: lower `learning_rate`"
            )
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch gives it none
        adam.step()
        cosine.step()
