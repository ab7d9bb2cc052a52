"""Which parts of the networks that this package knows are distilled, and how they are joined."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from torch import nn

from carbonmap.distill.covariance import Tap
from carbonmap.distill.links import (
    INPUT,
    Anatomy,
    Link,
    Part,
    of_trunk,
    of_unet,
    plain,
    rectified,
)
from carbonmap.errors import ModelError
from carbonmap.networks.attention import Concatenation, Fusion
from carbonmap.networks.blocks import DoubleBlock, Stage
from carbonmap.networks.iidm import Fall, Iidm, Rise
from carbonmap.networks.implicit import ImplicitUpsample
from carbonmap.networks.layers import DoubleConv
from carbonmap.networks.unet import Unet
from carbonmap.networks.vgg import Pyramid, Trunk

FEATURES = "f0"
"""f⁰ of the condition, whose channels stay."""


def anatomy(network: nn.Module) -> Anatomy:
    """The links, blocks and other parts of a network.

    Two networks that differ in widths alone have links and blocks of the same names.

    Raises:
        ModelError: the network is of another kind, or an IIDM of residual blocks.
    """
    match network:
        case Trunk():
            return of_trunk(network)
        case Unet():
            return of_unet(network)
        case Iidm():
            return _iidm(network)
    raise ModelError(
        f"a {type(network).__name__} cannot be distilled by PCA; want a VGG trunk, a U-Net or an "
        "IIDM"
    )


def taps_of(network: nn.Module) -> dict[str, Tap]:
    """Where the features of a network's layers are, by name: what `observe` takes."""
    return anatomy(network).taps


def _iidm(iidm: Iidm) -> Anatomy:
    """Trunk, f⁰, fⁱ, then the U-Net's levels down and up.

    Raises:
        ModelError: its blocks are residual: they normalise and activate (SiLU) before they
            convolve, and no basis of one layer's features says what is left of the next.
    """
    if iidm.spec.block != "double":
        raise ModelError(
            "an IIDM of residual blocks cannot be distilled by PCA: train one with block = "
            '"double", as the paper\'s U-Net is, or choose smaller `widths`'
        )
    links, blocks, copied = _condition(iidm)
    silenced: list[nn.Linear] = []
    given = (FEATURES, INPUT) if FEATURES in blocks else (INPUT,)
    links += _stage("down0", iidm.first, given, 0)
    blocks["down0"] = (iidm.first,)
    for level, fall in enumerate(iidm.encoder, 1):
        stage = cast(Fall, fall).stage
        links += _stage(f"down{level}", stage, (links[-1].name,), level)
        blocks[f"down{level}"] = (fall,)
    skips = {link.level: link.name for link in links if link.name.startswith("down")}
    rises = [cast(Rise, rise) for rise in iidm.decoder]
    for level, rise in zip(reversed(range(len(rises))), rises, strict=True):
        found = _rise(rise, level, links[-1].name, f"f{level + 1}", str(skips[level]))
        links += found
        blocks[f"up{level}"] = (rise,)
        if isinstance(rise.fusion, Fusion) and rise.fusion.attention:
            silenced.append(rise.fusion.attention.out)
        if isinstance(rise.up, ImplicitUpsample):
            copied.append(rise.up.of_offset)
    links.append(plain("last", "last", iidm.last, links[-1].name, fixed=True))
    blocks["last"] = (iidm.last,)
    return Anatomy(tuple(links), blocks, (*copied, iidm.level), tuple(silenced))


def _condition(
    iidm: Iidm,
) -> tuple[list[Link], dict[str, tuple[nn.Module, ...]], list[nn.Module]]:
    """Links and blocks of f⁰ and fⁱ, and what of them stays as it is.

    Without a trunk f⁰ is such, and the network is given it as it is given the noisy map.
    """
    links: list[Link] = []
    blocks: dict[str, tuple[nn.Module, ...]] = {}
    copied: list[nn.Module] = []
    match iidm.features:
        case Pyramid() as pyramid:
            trunk = of_trunk(pyramid.trunk)
            links += trunk.links
            blocks.update(trunk.blocks)
            ends = [trunk.links[stage].name for stage in pyramid.trunk.stages]
            parts = [Part(layer, (end,)) for layer, end in zip(pyramid.lateral, ends, strict=True)]
            links.append(Link(FEATURES, FEATURES, tuple(parts), pyramid, Tap(pyramid), fixed=True))
            blocks[FEATURES] = (pyramid.lateral,)
        case DoubleConv() as double:
            copied.append(double)
    before = FEATURES if FEATURES in blocks else INPUT
    for level, halve in enumerate(iidm.halve, 1):
        layers = cast(nn.Sequential, halve)
        links.append(rectified(f"f{level}", f"f{level}", layers, (before,), level))
        blocks[f"f{level}"] = (halve,)
        before = f"f{level}"
    return links, blocks, copied


def _stage(name: str, stage: Stage, inputs: tuple[str, ...], level: int) -> list[Link]:
    """Two links a block; the noise's level enters the first."""
    links: list[Link] = []
    blocks = [cast(DoubleBlock, block) for block in stage.blocks]
    for place, block in enumerate(blocks):
        first, second = f"{name}.{2 * place + 1}", f"{name}.{2 * place + 2}"
        conv, norm = block.first
        links.append(
            Link(
                first, name, (Part(conv, inputs),), conv, Tap(block.second[0], entering=True),
                norm, block.level, rectified=True, level=level,
            )
        )  # fmt: skip
        links.append(rectified(second, name, block.second, (first,), level))
        inputs = (second,)
    return links


def _rise(rise: Rise, level: int, below: str, feature: str, skip: str) -> list[Link]:
    """Fusion, upsampling and blocks of one level of the decoder.

    What the fusion adds is in the basis of what it is added to, whose name stays.
    """
    block = f"up{level}"
    links = []
    match rise.fusion:
        case Fusion() as fusion:
            merge = _merge(f"merge{level}", block, fusion.merge, below, feature, level + 1)
            links.append(replace(merge, tap=Tap(fusion.last, entering=True), rectified=True))
            links.append(plain(f"fused{level}", block, fusion.last, merge.name, space=below))
        case Concatenation() as merge_only:
            links.append(_merge(f"merge{level}", block, merge_only, below, feature, level + 1))
            below = links[-1].name
    raised = f"rise{level}"
    match rise.up:
        case ImplicitUpsample() as up:
            links.append(plain(f"hidden{level}", block, up.of_feature, below, fixed=True))
            last = plain(raised, block, up.last, f"hidden{level}", level=level)
            links.append(replace(last, summed=up, tap=Tap(up)))
        case _:
            links.append(plain(raised, block, rise.up, below, level=level))
    return links + _stage(block, rise.stage, (raised, skip), level)


def _merge(
    name: str, block: str, merge: Concatenation, below: str, feature: str, level: int
) -> Link:
    """The sum of two 1×1 convolutions."""
    parts = (Part(merge.of_u, (below,)), Part(merge.of_f, (feature,)))
    return Link(name, block, parts, merge, Tap(merge), level=level)
