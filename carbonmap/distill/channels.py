"""How many channels each layer keeps, and the specification of the smaller network."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from math import ceil, lcm

from pydantic.dataclasses import dataclass
from torch import nn

from carbonmap.distill.anatomy import anatomy
from carbonmap.distill.covariance import Moments
from carbonmap.distill.pca import VARIANCE, eigenbasis, explained, explained_apart, fewest
from carbonmap.errors import ModelError
from carbonmap.networks.specs import IidmSpec, UnetSpec, VggSpec
from carbonmap.settings import STRICT, Spec

MULTIPLE = 4
"""Widths of levels are rounded up to whole multiples of it: the paper's 44 … 704 are such, though
no layer asked for 44 (table A2), and vector units work on fours."""


@dataclass(frozen=True, config=STRICT)
class Choice(Spec):
    """What one layer keeps.

    Args:
        name: of its features.
        level: of a U-Net that must have one width, or None where the layer stands alone.
        channels: the teacher's.
        kept: fewest of the global basis that explain more than the share asked for.
        kept_apart: fewest by eq. 14, which lets each image have its own basis.
        explained: by the first c directions of the global basis, c = 1, 2, …
        explained_apart: eq. 14's mCEV(c).
    """

    name: str
    level: int | None
    channels: int
    kept: int
    kept_apart: int
    explained: tuple[float, ...]
    explained_apart: tuple[float, ...]


def choose(
    network: nn.Module,
    moments: Mapping[str, Moments],
    variance: float = VARIANCE,
    held: Collection[str] = (),
) -> list[Choice]:
    """A choice for each layer of a network whose channels are free.

    Args:
        network: the teacher.
        moments: of its `taps_of`.
        variance: share that the channels must exceed, by the global basis: eq. 14 promises more
            than one basis keeps, and is bounded by the pixels of deep layers.
        held: blocks that stay as they are, of whose layers nothing is asked.

    Raises:
        ModelError: a layer's features never vary, or `variance` is no share.
    """
    chosen = []
    for link in anatomy(network).links:
        if link.own and link.block not in held:
            seen = moments[link.name]
            if not seen.varied:
                raise ModelError(
                    f"{link.name} is constant in every image, so nothing of it can be distilled: "
                    "train the teacher, or give larger tiles"
                )
            whole, apart = explained(eigenbasis(seen), seen), explained_apart(seen)
            kept, kept_apart = fewest(whole, variance), fewest(apart, variance)
            curves = tuple(whole.tolist()), tuple(apart.tolist())
            chosen.append(Choice(link.name, link.level, seen.channels, kept, kept_apart, *curves))
    return chosen


def level_widths(choices: Iterable[Choice], *, multiple: int = MULTIPLE) -> tuple[int, ...]:
    """One width a level: the most that any of its layers, down or up, must keep, so that skips fit.

    Args:
        choices: of a U-Net's layers; those without a level are passed over.
        multiple: to which widths are rounded up, though never past the teacher's.

    Returns:
        Widths, the finest level first.

    Raises:
        ModelError: no choice has a level.
    """
    most: dict[int, int] = {}
    limits: dict[int, int] = {}
    for choice in choices:
        if choice.level is not None:
            most[choice.level] = max(most.get(choice.level, 0), choice.kept)
            limits[choice.level] = choice.channels
    if not most:
        raise ModelError("no layer belongs to a level: give the choices of a U-Net")
    return tuple(min(_up(most[level], multiple), limits[level]) for level in sorted(most))


def distilled_vgg(spec: VggSpec, choices: Sequence[Choice]) -> VggSpec:
    """The same trunk with the channels chosen for its layers, in order.

    Raises:
        ValueError: there are more or fewer choices than convolutions.
    """
    return replace(spec, channels=tuple(choice.kept for choice in choices))


def distilled_unet(spec: UnetSpec, choices: Iterable[Choice]) -> UnetSpec:
    """The same U-Net with one width a level."""
    return replace(spec, widths=level_widths(choices))


def distilled_spec(spec: IidmSpec, choices: Sequence[Choice]) -> IidmSpec:
    """The same denoiser with a trunk and a U-Net as small as the choices allow.

    Choices without a level are its trunk's; where there are none, the trunk stays as it is. Widths
    stay whole multiples of the attention's heads. f⁰ keeps its channels.
    """
    trunk = [choice for choice in choices if choice.level is None]
    vgg = distilled_vgg(spec.vgg, trunk) if spec.vgg and trunk else spec.vgg
    if len(trunk) < len(choices):
        widths = level_widths(choices, multiple=lcm(MULTIPLE, spec.heads))
        return replace(spec, vgg=vgg, widths=widths)
    return replace(spec, vgg=vgg)


def _up(count: int, multiple: int) -> int:
    return ceil(count / multiple) * multiple
