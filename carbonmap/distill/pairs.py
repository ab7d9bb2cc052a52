"""A trunk's encoder and decoder pairs, trained one after the other (IIDM, eq. 11–13)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Generator, Tensor, nn

from carbonmap.distill.blockwise import (
    Blockwise,
    LayerReport,
    descend,
    excess,
    feature_floor,
    feature_loss,
    learning,
)
from carbonmap.distill.covariance import centred
from carbonmap.distill.links import of_trunk, stages_of
from carbonmap.distill.pca import Basis
from carbonmap.errors import ModelError
from carbonmap.networks.vgg import Trunk


def decoders(student: Trunk, generator: Generator) -> nn.ModuleList:
    """dec_1 … dec_N: each undoes the encoder block of its number, down to the image.

    A bilinear doubling where the encoder pooled, a 3×3 convolution, a ReLU but for the image. Chiu
    & Gurari also hand the decoder each block's high frequencies past the bottleneck; left out, as
    what a decoder can rebuild from the features alone is what says how much they hold.

    Args:
        student: whose blocks are undone.
        generator: of their first weights (He et al. 2015).
    """
    found = nn.ModuleList()
    for stage in stages_of(student):
        layers: list[nn.Module] = []
        if isinstance(stage[0], nn.MaxPool2d):
            layers.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
        encoder = stage[-2]
        if not isinstance(encoder, nn.Conv2d):
            raise ModelError("a trunk's block ends with no convolution and ReLU")
        conv = nn.Conv2d(
            encoder.out_channels, encoder.in_channels, 3, padding=1, padding_mode="replicate"
        )
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu", generator=generator)
        nn.init.zeros_(conv.bias)  # type: ignore[arg-type]  # it has one
        found.append(nn.Sequential(*layers, conv, *([nn.ReLU()] if len(found) else [])))
    return found


def distil_trunk(
    teacher: Trunk,
    student: Trunk,
    decoders: nn.ModuleList,
    bases: Mapping[str, Basis],
    batches: Iterator[Tensor],
    held: Sequence[Tensor],
    settings: Blockwise,
) -> Iterator[LayerReport]:
    """Train enc_N and dec_N for N = 1, 2, …, the earlier pairs held; a report after each.

        L_enc = ‖W_Nᵀ F̄ᵉ − F̄‖²                                              eq. 11
        L_dec = ‖F^d_{N−1} − F^e_{N−1}‖² + ‖I_rec − I‖² + ‖F_{N,rec} − F_N‖²      eq. 12

    The first term of L_dec is absent at N = 1, where it is the image's. F_{N,rec} are the teacher's
    features of the image rebuilt. Images are standardised bands, whose variance is about 1.

    Args:
        teacher: in eval mode; nothing of it changes.
        student: changed in place, from any start, such as `transfer`'s.
        decoders: changed in place.
        bases: of the teacher's taps.
        batches: images, ``(batch, band, row, col)``; each pair takes ``settings.steps`` of them.
        held: images on which to report.
        settings: of each pair.

    Raises:
        ModelError: batches end too soon, or a loss is not finite.
    """
    names = [link.name for link in of_trunk(student).links]
    theirs, ours = stages_of(teacher), stages_of(student)
    for n in range(1, len(ours) + 1):
        pair = _Pair(
            names[:n], theirs[:n], ours[:n], list(decoders)[:n], bases, settings.rebuilding
        )
        before = pair.report(held)
        with (
            learning(teacher),
            learning(student, [ours[n - 1]]) as encoder,
            learning(decoders, [decoders[n - 1]]) as decoder,
        ):
            losses = (pair.loss(images) for images in batches)
            descend([*encoder, *decoder], losses, settings, names[n - 1])
        yield replace(pair.report(held), before=before.loss)


class _Pair:
    """enc_N and dec_N with all that comes before them."""

    def __init__(
        self,
        names: Sequence[str],
        teacher: Sequence[nn.Module],
        student: Sequence[nn.Module],
        decoders: Sequence[nn.Module],
        bases: Mapping[str, Basis],
        rebuilding: float,
    ) -> None:
        self.name, self.rebuilding = names[-1], rebuilding
        self.teacher, self.student = teacher, student
        self.decoders = decoders[::-1]
        self.widths = [_width(stage) for stage in student]
        self.w = bases[self.name].w(self.widths[-1])
        self.variance = float(bases[self.name].variances.sum())
        """Of the teacher's features."""
        self.known = (
            float(bases[names[-2]].variances[: self.widths[-2]].sum()) if len(names) > 1 else 1.0
        )
        """Of the student's features before this pair, were they W F; 1 for the image's."""

    def loss(self, images: Tensor) -> Tensor:
        """Eq. 13: the two losses' sum, each term as a share of what varies."""
        with torch.no_grad():
            target = _run(self.teacher, images)
            given = _run(self.student[:-1], images)
        found = self.student[-1](given)
        felt = self.rebuilding * found + (1 - self.rebuilding) * found.detach()
        back = self.decoders[0](felt)
        rebuilt = _run(self.decoders[1:], back)
        again = _run(self.teacher, rebuilt)
        loss = excess(found, target, self.w) / self.variance
        loss = loss + (rebuilt - images).square().mean()
        loss = loss + (again - target).square().sum(1).mean() / self.variance
        if len(self.student) > 1:
            loss = loss + (back - given).square().sum(1).mean() / self.known
        return torch.as_tensor(loss)

    @torch.no_grad()
    def report(self, held: Sequence[Tensor]) -> LayerReport:
        """How things stand, over images held out; `before` is the loss."""
        total = torch.zeros(4, dtype=torch.float64)
        for images in held:
            target, found = _run(self.teacher, images), _run(self.student, images)
            values = [
                centred(target).square().sum(1).mean(),
                feature_loss(found, target, self.w),
                feature_floor(target, self.w),
                (_run(self.decoders, found) - images).square().mean(),
            ]
            total += torch.stack(values).double().cpu() * len(images)
        mean = total / sum(map(len, held))
        variance, loss, floor, image = mean.tolist()
        kept, channels = self.w.shape
        return LayerReport(self.name, channels, kept, variance, loss, loss, floor, image)


def _run(stages: Sequence[nn.Module], images: Tensor) -> Tensor:
    for stage in stages:
        images = stage(images)
    return images


def _width(stage: nn.Module) -> int:
    return next(m.out_channels for m in stage.modules() if isinstance(m, nn.Conv2d))
