"""A smaller network's first weights: the teacher's, projected onto the bases of its features.

Where the teacher computes F' = ReLU(K ∗ F + b), the student wants G = W F + shift and so
G' = W' F' + shift'. Without the ReLU its kernel would be W' K Wᵀ, up to what the bases leave out.
The ReLU acts on the teacher's channels one by one, and the student has no such channels: in its
stead comes the straight line that fits it best where a channel's values are Gaussian (Bussgang
1952), whose slope is the share of them above 0, which was counted. The student's own ReLU must not
cut a projected feature, which has no sign of its own: each channel is lifted by `LIFT` of its
standard deviations. So the student begins as a nearly linear copy with all channels alive, and
training bends it. Max pooling does not commute with W either; what it does to means is taken up by
`settle`, which measures.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.utils.hooks import RemovableHandle

from carbonmap.distill.anatomy import anatomy
from carbonmap.distill.links import INPUT, Anatomy, Link, Part
from carbonmap.distill.pca import Basis
from carbonmap.errors import ModelError
from carbonmap.networks.layers import FREE_STEPS

LIFT = 1.0
"""Standard deviations from a rectified channel's mean down to where its ReLU would cut it. On a
random VGG-11 trunk eq. 11 begins at 0.30–0.60 of the layers' variance with 1, 0.32–0.72 with 2 and
0.32–1.47 with 3, where the zeros at a tile's edge stand out; with 0, at 0.42–1.00."""

B = TypeVar("B")
Bases = Mapping[str, Basis]


def transfer(
    teacher: nn.Module,
    student: nn.Module,
    bases: Bases,
    run: Callable[[B], object],
    batch: B,
    held: Collection[str] = (),
) -> None:
    """Give a student, in place, the teacher's weights in the coordinates of the bases.

    Cross-attention normalises over channels, which no basis survives: it begins silent. What works
    on channels that stay (noise levels, offsets, f⁰ without a trunk) is copied.

    Args:
        teacher: trained, in eval mode.
        student: of the same kind, with fewer channels.
        bases: of the teacher's `taps_of`, by name.
        run: runs the student on a batch.
        batch: on which `settle` measures; some dozens of images.
        held: blocks that keep their channels and are copied as they are. What reads features from
            another part must read such as have no basis, as f⁰ is between trunk and U-Net.

    Raises:
        ModelError: the two are of different kinds, a basis is missing, or a norm is neither batch
            norm nor none, and so no fixed scale that a kernel could hold.
    """
    large, small = matched(teacher, student)
    frames = {link.name: frame(link, bases, link.channels) for link in small.links}
    with torch.no_grad():
        for theirs, ours in zip(large.links, small.links, strict=True):
            if ours.block not in held:
                _project(theirs, ours, frames, bases)
        for layer in small.silenced:
            layer.weight.zero_()
            layer.bias.zero_()
        copied = [(large.copied, small.copied)]
        for sources, targets in copied + [(large.blocks[n], small.blocks[n]) for n in held]:
            for source, target in zip(sources, targets, strict=True):
                target.load_state_dict(source.state_dict())
        free = tuple(link for link in small.links if link.block not in held)
        settle(replace(small, links=free), bases, run, batch)


def matched(teacher: nn.Module, student: nn.Module) -> tuple[Anatomy, Anatomy]:
    """What of two networks is distilled, side by side.

    Raises:
        ModelError: their layers differ in more than widths.
    """
    large, small = anatomy(teacher), anatomy(student)
    if list(large.taps) != list(small.taps):
        odd = sorted(large.taps.keys() ^ small.taps.keys()) or ["the order of layers"]
        raise ModelError(
            f"teacher and student differ in {', '.join(odd)}: they may differ in widths alone"
        )
    return large, small


def frame(link: Link, bases: Bases, channels: int) -> Tensor:
    """W of a link's features for a student's channels; the identity where channels stay.

    Raises:
        ModelError: there is no basis for the link, or it has fewer directions.
    """
    missing = [name for name in (link.name, link.space or link.name) if name not in bases]
    if missing:
        raise ModelError(f"no basis was given for {missing[0]}: observe all of `taps_of`")
    if link.fixed:
        return torch.eye(channels, dtype=torch.float64)
    return bases[link.space or link.name].w(channels)


def settle(small: Anatomy, bases: Bases, run: Callable[[B], object], batch: B) -> None:
    """Bring the mean of every sum in a student to where projection wants it, in one run.

    Layer by layer as the batch passes: a bias takes the difference; a batch norm gets the measured
    mean and variance as its running ones and undoes them, so that only the mean changes, and a
    batch like this one gives the same in training mode.
    """
    handles: list[RemovableHandle] = []
    for link in small.links:
        handles.append(link.summed.register_forward_hook(_settler(link, bases)))
        if link.noise is not None:
            handles.append(link.noise.register_forward_hook(_balance))
    try:
        with torch.no_grad():
            run(batch)
    finally:
        for handle in handles:
            handle.remove()


def _settler(link: Link, bases: Bases) -> Callable[[nn.Module, object, Tensor], Tensor]:
    """A hook that settles one link when its sum has been computed."""
    basis = bases[link.name]

    def hook(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        channels = output.shape[1]
        wanted = (
            LIFT * basis.spread[:channels]
            if link.rectified
            else frame(link, bases, channels) @ basis.mean
        ).to(output)
        variance, mean = torch.var_mean(output, dim=(0, 2, 3), correction=0)
        if isinstance(link.norm, nn.BatchNorm2d):
            _set_norm(link.norm, mean, variance, wanted)
            return output
        bias = link.parts[0].linear.bias
        if bias is None:
            raise ModelError(f"{link.name} has neither batch norm nor a bias to hold its mean")
        bias.add_(wanted - mean)
        return output + (wanted - mean)[:, None, None]

    return hook


def _balance(module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
    """Take the batch's mean out of what a noise level adds; it is in the sum's mean already."""
    if isinstance(module, nn.Linear):
        module.bias.sub_(output.mean(0))
    return output - output.mean(0)


def _set_norm(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, wanted: Tensor) -> None:
    """Statistics as measured, a scale that undoes them, and the mean that is wanted.

    Raises:
        ModelError: the norm keeps no statistics.
    """
    if norm.running_mean is None or norm.running_var is None:
        raise ModelError("a batch norm keeps no running statistics: make it with them")
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.fill_(FREE_STEPS)  # these are no statistics of a start
    norm.weight.copy_((variance + norm.eps).sqrt())
    norm.bias.copy_(wanted)


def _project(large: Link, small: Link, frames: Mapping[str, Tensor], bases: Bases) -> None:
    """W' D K Wᵀ into each of a student's layers, D the slope of the teacher's ReLU."""
    if not isinstance(large.norm, nn.BatchNorm2d | nn.Identity):
        raise ModelError(
            f"{large.name} is normalised by {type(large.norm).__name__}: weights can be projected "
            "through batch norm or none; train the student blockwise from its own start"
        )
    out = frames[small.name]
    if large.rectified:
        out = out * bases[large.name].active
    for theirs, ours in zip(large.parts, small.parts, strict=True):
        kernel = torch.einsum("eo,oi...->ei...", out, _kernel(theirs, large.norm))
        into = _joined(theirs, kernel.shape[1], frames)
        _set_kernel(ours, torch.einsum("ei...,ci->ec...", kernel, into))
    if large.noise is not None and small.noise is not None:
        small.noise.weight.copy_(out @ large.noise.weight.double().cpu())
        small.noise.bias.zero_()  # `settle` finds it


def _kernel(part: Part, norm: nn.Module) -> Tensor:
    """A layer's weights with its batch norm's scale inside, ``(out, in, …)`` float64."""
    layer = part.linear
    weight = layer.weight
    if isinstance(layer, nn.ConvTranspose2d):
        return weight.double().cpu().transpose(0, 1)
    if isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None:
        weight, _ = fuse_conv_bn_weights(
            weight,
            layer.bias,
            norm.running_mean,
            norm.running_var,  # type: ignore[arg-type]  # it is there with the mean
            norm.eps,
            norm.weight,
            norm.bias,
        )
    return weight.double().cpu()


def _joined(part: Part, channels: int, frames: Mapping[str, Tensor]) -> Tensor:
    """The frames of a layer's inputs side by side; what the network is given stays as it is."""
    held = sum(frames[name].shape[1] for name in part.inputs if name != INPUT)
    raw = torch.eye(channels - held, dtype=torch.float64)
    blocks = [raw if name == INPUT else frames[name] for name in part.inputs]
    joined: Tensor = torch.block_diag(*blocks)  # type: ignore[no-untyped-call]  # torch gives none
    return joined


def _set_kernel(part: Part, kernel: Tensor) -> None:
    layer = part.linear
    if isinstance(layer, nn.ConvTranspose2d):
        kernel = kernel.transpose(0, 1)
    layer.weight.copy_(kernel)
