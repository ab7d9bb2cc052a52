"""A U-Net's blocks, trained one after the other on the teacher's features (IIDM, eq. 11)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import torch
from torch import Generator, Tensor, nn

from carbonmap.diffusion.objectives import noised
from carbonmap.diffusion.schedules import draw_gammas
from carbonmap.diffusion.spec import DiffusionSpec
from carbonmap.distill.blockwise import (
    Blockwise,
    LayerReport,
    descend,
    excess,
    feature_floor,
    feature_loss,
    learning,
)
from carbonmap.distill.covariance import Tap, centred, listening
from carbonmap.distill.links import Link
from carbonmap.distill.pca import Basis
from carbonmap.distill.transfer import frame, matched
from carbonmap.learning.diffusion import clean_map
from carbonmap.learning.learner import Batch

B = TypeVar("B")
Run = Callable[[nn.Module, B], object]
"""Runs a network on a batch."""

Pairs = dict[str, tuple[Tensor, Tensor]]
"""A student's and its teacher's features by layer."""

TINY = 1e-12
"""Variance that a layer counts as having at least: one that is dead teaches nothing."""

Noisy = tuple[Tensor, Tensor, Tensor]
"""What a denoiser is given: condition x, noisy map y_t, and γ of each map."""


def noisy(batches: Iterable[Batch], spec: DiffusionSpec, generator: Generator) -> Iterator[Noisy]:
    """Batches as a denoiser learns from them: y_t = √γ y₀ + √(1 − γ) ε, γ drawn for each map.

    Args:
        batches: patches; weights tell where y₀ is known (`clean_map`), and weigh nothing, as the
            teacher, not the label, is the target.
        spec: on whose scale y₀ is, and whose noise levels are drawn as in training.
        generator: of γ and ε, on the CPU, so that every device sees the same.
    """
    for batch in batches:
        clean = clean_map(batch, spec)
        gamma = draw_gammas(spec, len(clean), generator).to(clean)
        noise = torch.randn(clean.shape, generator=generator).to(clean)
        yield batch.condition, noised(clean, noise, gamma), gamma


def distil_blocks(
    teacher: nn.Module,
    student: nn.Module,
    bases: Mapping[str, Basis],
    run: Run[B],
    batches: Iterator[B],
    held: Sequence[B],
    settings: Blockwise,
    passed: Collection[str] = (),
) -> Iterator[tuple[LayerReport, ...]]:
    """Train a student's blocks in the order in which they run, earlier ones held.

    Teacher and student are given the same batch. A block's loss is the sum of eq. 11 over its
    layers, each as a share of what the teacher's features vary. Where channels stay (f⁰, the
    answer) nothing is centred: the mean counts as well. Eq. 12's decoders rebuild images from a
    trunk; a U-Net's own way up is distilled instead.

    Args:
        teacher: nothing of it changes.
        student: changed in place, best from `transfer`'s start.
        bases: of the teacher's taps.
        run: of either network on a batch.
        batches: without end; each block takes ``settings.steps``.
        held: on which to report.
        settings: of each block.
        passed: blocks that are not trained: held by `transfer`, or trained by `distil_trunk`.

    Yields:
        A report on each layer of a block, when the block has learned.

    Raises:
        ModelError: the networks differ in more than widths, batches end too soon, or a loss is not
            finite.
    """
    large, small = matched(teacher, student)
    todo = [(name, modules) for name, modules in small.blocks.items() if name not in passed]
    for name, modules in todo:
        links = [link for link in small.links if link.block == name and not link.space]
        block = _Block(links, large.taps, bases)

        def pair(batch: B, block: _Block = block) -> Pairs:
            with torch.no_grad():
                known = features(partial(run, teacher), block.theirs, batch)
            found = features(partial(run, student), block.ours, batch)
            return {key: (found[key], known[key]) for key in found}

        with learning(teacher):
            with learning(student):
                before = block.report(map(pair, held))
            with learning(student, modules) as parameters:
                descend(parameters, (block.loss(pair(b)) for b in batches), settings, name)
            with learning(student):
                after = block.report(map(pair, held))
        yield tuple(replace(b, before=a.loss) for a, b in zip(before, after, strict=True))


def features(run: Callable[[B], object], taps: Mapping[str, Tap], batch: B) -> dict[str, Tensor]:
    """The features at some taps, when a network runs on a batch."""
    found: dict[str, Tensor] = {}
    with listening(taps, found.__setitem__):
        run(batch)
    return found


class _Block:
    """Layers that learn at once."""

    def __init__(
        self, links: Sequence[Link], teacher: Mapping[str, Tap], bases: Mapping[str, Basis]
    ) -> None:
        self.links = links
        self.ours = {link.name: link.tap for link in links}
        self.theirs = {link.name: teacher[link.name] for link in links}
        self.w = {link.name: frame(link, bases, link.channels) for link in links}
        self.variance = {link.name: float(bases[link.name].variances.sum()) for link in links}

    def loss(self, pairs: Pairs) -> Tensor:
        """Sum over layers of what is above the floor, as a share of what the teacher's vary."""
        total = []
        for link in self.links:
            student, teacher = pairs[link.name]
            over = (
                (student - teacher).square().sum(1).mean()
                if link.fixed
                else excess(student, teacher, self.w[link.name])
            )
            total.append(over / max(self.variance[link.name], TINY))
        return torch.stack(total).sum()

    @torch.no_grad()
    def report(self, held: Iterable[Pairs]) -> list[LayerReport]:
        """How things stand, over batches held out; `before` is the loss."""
        sums = {link.name: torch.zeros(4, dtype=torch.float64) for link in self.links}
        for pairs in held:
            for link in self.links:
                values = torch.stack(self._values(link, *pairs[link.name])).double().cpu()
                count = len(pairs[link.name][0])
                sums[link.name] += torch.cat([values, values.new_ones(1)]) * count
        reports = []
        for link in self.links:
            variance, loss, floor = (sums[link.name][:3] / sums[link.name][3]).tolist()
            kept, channels = self.w[link.name].shape
            reports.append(LayerReport(link.name, channels, kept, variance, loss, loss, floor))
        return reports

    def _values(self, link: Link, student: Tensor, teacher: Tensor) -> list[Tensor]:
        """Variance, eq. 11 and its floor; of layers whose channels stay, the plain error and 0."""
        variance = centred(teacher).square().sum(1).mean()
        if link.fixed:
            error = (student - teacher).square().sum(1).mean()
            return [variance, error, torch.zeros_like(error)]
        w = self.w[link.name]
        return [variance, feature_loss(student, teacher, w), feature_floor(teacher, w)]
