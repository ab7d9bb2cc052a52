"""A network as distillation sees it: linear layers that lead from one feature space to the next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from torch import nn

from carbonmap.distill.covariance import Tap
from carbonmap.errors import ModelError
from carbonmap.networks.layers import DoubleConv
from carbonmap.networks.unet import Unet
from carbonmap.networks.vgg import Trunk

INPUT = ""
"""Name of what a network is given, whose channels stay as they are."""

Layer = nn.Conv2d | nn.ConvTranspose2d | nn.Linear


@dataclass(frozen=True, eq=False)
class Part:
    """A linear layer, and the names of the features that it reads, as they are concatenated."""

    layer: nn.Module
    inputs: tuple[str, ...]

    @property
    def linear(self) -> Layer:
        """The layer.

        Raises:
            ModelError: it is something else, so this package does not know the network.
        """
        if not isinstance(self.layer, Layer):
            raise ModelError(
                f"a {type(self.layer).__name__} stands where a convolution or linear layer should"
            )
        return self.layer


@dataclass(frozen=True, eq=False)
class Link:
    """Features, and what makes them: a sum of linear layers, a norm, perhaps a ReLU.

    Args:
        name: of the features.
        block: with which they are trained.
        parts: whose sum they are; the first has the bias, where there is no norm.
        summed: the module whose output that sum is.
        tap: where the features are.
        norm: after the sum; an `Identity` where there is none.
        noise: gives what is added before the ReLU for the level of noise, if anything.
        rectified: whether a ReLU comes last.
        level: halvings from full resolution where a whole level has one width, else None.
        fixed: whether they keep their channels.
        space: the features to which these are added, so that both have one basis; or their own.
    """

    name: str
    block: str
    parts: tuple[Part, ...]
    summed: nn.Module
    tap: Tap
    norm: nn.Module = field(default_factory=nn.Identity)
    noise: nn.Linear | None = None
    rectified: bool = False
    level: int | None = None
    fixed: bool = False
    space: str = INPUT

    @property
    def channels(self) -> int:
        """Of the features."""
        layer = self.parts[0].linear
        return layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels

    @property
    def own(self) -> bool:
        """Whether the features have a basis of their own."""
        return not self.fixed and not self.space


@dataclass(frozen=True, eq=False)
class Anatomy:
    """All of a network that distillation moves.

    Args:
        links: in the order in which they run.
        blocks: what learns together, by the names in the links.
        copied: what a student has just as its teacher.
        silenced: layers that have no projection and begin at zero in a student.
    """

    links: tuple[Link, ...]
    blocks: dict[str, tuple[nn.Module, ...]]
    copied: tuple[nn.Module, ...] = ()
    silenced: tuple[nn.Linear, ...] = ()

    @property
    def taps(self) -> dict[str, Tap]:
        """Where each link's features are, by name: what `observe` takes."""
        return {link.name: link.tap for link in self.links}


def stages_of(trunk: Trunk) -> list[nn.Sequential]:
    """enc_1 … enc_N: each convolution with its ReLU and the pooling before it, if there is one."""
    ends = [i + 1 for i, layer in enumerate(trunk.features) if isinstance(layer, nn.ReLU)]
    pairs = zip([0, *ends], ends, strict=False)
    return [nn.Sequential(*list(trunk.features)[start:end]) for start, end in pairs]


def of_trunk(trunk: Trunk) -> Anatomy:
    """relu1 … reluN, each a block of its own."""
    links: list[Link] = []
    blocks: dict[str, tuple[nn.Module, ...]] = {}
    for n, stage in enumerate(stages_of(trunk), 1):
        name, before = f"relu{n}", f"relu{n - 1}" if n > 1 else INPUT
        conv, relu = list(stage)[-2:]
        links.append(Link(name, name, (Part(conv, (before,)),), conv, Tap(relu), rectified=True))
        blocks[name] = (stage,)
    return Anatomy(tuple(links), blocks)


def of_unet(unet: Unet) -> Anatomy:
    """Two links a level down, a rise and two links a level up, and the last convolution."""
    down = {f"down{level}": double for level, double in enumerate([unet.first, *unet.down])}
    links: list[Link] = []
    for level, (name, double) in enumerate(down.items()):
        before = links[-1].name if links else INPUT
        links += double_links(name, double, (before,), level)
    blocks: dict[str, tuple[nn.Module, ...]] = {name: (double,) for name, double in down.items()}
    levels = reversed(range(len(unet.down)))
    for level, rise, double in zip(levels, unet.rise, unet.up, strict=True):
        name = f"up{level}"
        before, raised = links[-1].name, f"rise{level}"
        links.append(plain(raised, name, rise, before, level=level))
        links += double_links(name, double, (f"down{level}.2", raised), level)
        blocks[name] = (rise, double)
    links.append(plain("last", "last", unet.last, links[-1].name, fixed=True))
    return Anatomy(tuple(links), {**blocks, "last": (unet.last,)})


def double_links(
    name: str, double: nn.Module, inputs: Sequence[str], level: int | None
) -> list[Link]:
    """The links ``name.1`` and ``name.2`` of a `DoubleConv`, in one block.

    Raises:
        ModelError: the module is none.
    """
    if not isinstance(double, DoubleConv):
        raise ModelError(f"{name} is a {type(double).__name__}, want a double convolution")
    layers = list(double)
    first = rectified(f"{name}.1", name, layers[:3], inputs, level)
    return [first, rectified(f"{name}.2", name, layers[3:], (first.name,), level)]


def rectified(
    name: str, block: str, layers: Iterable[nn.Module], inputs: Sequence[str], level: int | None
) -> Link:
    """A link of a convolution, its norm and its ReLU."""
    conv, norm, relu = layers
    parts = (Part(conv, tuple(inputs)),)
    return Link(name, block, parts, conv, Tap(relu), norm, rectified=True, level=level)


def plain(
    name: str,
    block: str,
    layer: nn.Module,
    before: str,
    *,
    level: int | None = None,
    fixed: bool = False,
    space: str = INPUT,
) -> Link:
    """A link of one layer after which nothing follows."""
    parts = (Part(layer, (before,)),)
    return Link(name, block, parts, layer, Tap(layer), level=level, fixed=fixed, space=space)
