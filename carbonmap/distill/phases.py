"""PCA distillation of a learner's network, phase by phase, so that a stage can keep each one's end.

`plan_of` measures the teacher and chooses channels, `student_spec` and `project` make the student,
`blockwise` trains its parts; the whole of it is then fine-tuned by the ordinary training loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Generator, Tensor

from carbonmap.distill.anatomy import FEATURES, anatomy
from carbonmap.distill.blocks import distil_blocks, noisy
from carbonmap.distill.blockwise import Blockwise, LayerReport
from carbonmap.distill.channels import Choice, choose, distilled_spec, distilled_unet
from carbonmap.distill.covariance import observe
from carbonmap.distill.links import of_trunk
from carbonmap.distill.names import Parts
from carbonmap.distill.pairs import decoders, distil_trunk
from carbonmap.distill.pca import VARIANCE, Basis, eigenbasis
from carbonmap.distill.transfer import transfer
from carbonmap.errors import ModelError
from carbonmap.learning.diffusion import Diffusion
from carbonmap.learning.learner import Batch, Learner
from carbonmap.learning.regression import Regression
from carbonmap.networks.iidm import Iidm
from carbonmap.networks.specs import IidmSpec, UnetSpec
from carbonmap.networks.unet import Unet
from carbonmap.networks.vgg import Pyramid, Trunk

Network = Unet | Iidm

Inputs = tuple[Tensor, ...]
"""What a network is called with."""

NORMS = ("batch", "renorm", "none")
"""Which act on each channel alone, so that weights can be projected through them."""


@dataclass(frozen=True, eq=False)
class Teacher:
    """A trained network, and which parts of it are distilled; `teacher_of` makes it.

    Args:
        learner: in eval mode, on the device that computes.
        parts: that become smaller.
    """

    learner: Regression | Diffusion
    parts: Parts

    @property
    def network(self) -> Network:
        """Its own."""
        return self.learner.network

    @property
    def held(self) -> frozenset[str]:
        """Blocks that the student has just as its teacher."""
        trunk = trunk_blocks(self.network)
        if self.parts == "both":
            return frozenset()
        return trunk if self.parts == "unet" else frozenset(anatomy(self.network).blocks) - trunk

    def inputs(self, batches: Iterable[Batch], seed: int) -> Iterator[Inputs]:
        """What the network is given in training: the condition, noisy maps and their levels.

        Args:
            batches: patches, on any device.
            seed: of noise levels and noise.
        """
        device = next(self.network.parameters()).device
        moved = (Batch(*(t.to(device) for t in (b.condition, b.target, b.weight))) for b in batches)
        if isinstance(self.learner, Regression):
            return ((batch.condition,) for batch in moved)
        return noisy(moved, self.learner.spec, Generator().manual_seed(seed))


@dataclass(frozen=True, eq=False)
class Plan:
    """What PCA found of a teacher.

    Args:
        choices: channels of each layer that becomes smaller.
        bases: of all layers, by name.
    """

    choices: tuple[Choice, ...]
    bases: Mapping[str, Basis]


def teacher_of(learner: Learner, parts: Parts) -> Teacher:
    """A learner as a teacher, once it is known that PCA can distil it.

    Raises:
        ModelError: it is of another family, its norms mix channels, its blocks are residual, or it
            has no trunk and that is to be distilled.
    """
    if not isinstance(learner, Regression | Diffusion):
        raise ModelError(
            f"a {type(learner).__name__} cannot be distilled by PCA; give a teacher of the kind "
            '"iidm" or "unet"'
        )
    spec = learner.network.spec
    if spec.norm not in NORMS:
        raise ModelError(
            f'the teacher has norm = "{spec.norm}", whose statistics run over channels, and PCA '
            "rotates these; train a teacher with --set model.network.norm=batch"
        )
    if isinstance(spec, IidmSpec) and spec.block != "double":
        raise ModelError(
            f'the teacher has block = "{spec.block}", whose convolutions read what is normalised '
            "and activated, and no basis of one layer says what is left of the next; train one "
            "with --set model.network.block=double"
        )
    if parts == "vgg" and not trunk_blocks(learner.network):
        raise ModelError(
            'the teacher has no VGG, and "vgg" was to be distilled; say "unet", or train a '
            "teacher that has one"
        )
    learner.network.eval()
    return Teacher(learner, parts)


def trunk_blocks(network: Network) -> frozenset[str]:
    """The blocks that give f⁰: of a trunk, and of what joins its levels; none without a trunk."""
    trunk = _trunk(network)
    return frozenset((*of_trunk(trunk).blocks, FEATURES) if trunk else ())


def plan_of(teacher: Teacher, inputs: Iterable[Inputs], variance: float = VARIANCE) -> Plan:
    """Measure every layer's features in one pass, and choose channels (eq. 8–10, 14–15).

    Args:
        teacher: that is measured.
        inputs: each used once.
        variance: share of each layer's variance that its channels must exceed.

    Raises:
        ModelError: a layer's features never vary, or `variance` is no share.
    """
    moments = observe(lambda one: teacher.network(*one), anatomy(teacher.network).taps, inputs)
    choices = choose(teacher.network, moments, variance, teacher.held)
    return Plan(tuple(choices), {name: eigenbasis(seen) for name, seen in moments.items()})


def student_spec(teacher: Teacher, choices: Sequence[Choice]) -> UnetSpec | IidmSpec:
    """The specification of the smaller network."""
    spec = teacher.network.spec
    if isinstance(spec, UnetSpec):
        return distilled_unet(spec, choices)
    return distilled_spec(spec, choices)


def kept(choice: Choice, spec: UnetSpec | IidmSpec) -> int:
    """Channels that a layer has in the student: a level's layers share the widest's."""
    return choice.kept if choice.level is None else spec.widths[choice.level]


def project(teacher: Teacher, student: Network, plan: Plan, inputs: Sequence[Inputs]) -> None:
    """Give a student its first weights; see `transfer`.

    Args:
        teacher: whose weights are projected.
        student: changed in place.
        plan: of the teacher.
        inputs: some, whose images together are those on which means are settled.
    """
    together = tuple(torch.cat(parts) for parts in zip(*inputs, strict=True))
    student.eval()
    transfer(
        teacher.network, student, plan.bases, lambda one: student(*one), together, teacher.held
    )


def count_blocks(teacher: Teacher) -> int:
    """How many blocks `blockwise` trains, each for as many batches as its settings say."""
    return len(anatomy(teacher.network).blocks) - len(teacher.held)


def blockwise(
    teacher: Teacher,
    student: Network,
    plan: Plan,
    inputs: Iterator[Inputs],
    held: Sequence[Inputs],
    settings: Blockwise,
    seed: int,
) -> Iterator[tuple[LayerReport, ...]]:
    """Train a student's blocks one after the other: a trunk with its decoders, then the others.

    Args:
        teacher: whose features are learned.
        student: changed in place, as `project` left it.
        plan: of the teacher.
        inputs: without end, or as many as `count_blocks` times the steps.
        held: on which to report.
        settings: of each block.
        seed: of the decoders' first weights.

    Yields:
        A report on each layer of a block when it has learned.

    Raises:
        ModelError: inputs end too soon, or a loss is not finite.
    """
    passed = set(teacher.held)
    large, small = _trunk(teacher.network), _trunk(student)
    if large is not None and small is not None and teacher.parts != "unet":
        images = [one[0] for one in held]
        back = decoders(small, Generator().manual_seed(seed)).to(images[0].device)
        following = (one[0] for one in inputs)
        for report in distil_trunk(large, small, back, plan.bases, following, images, settings):
            yield (report,)
        passed |= of_trunk(large).blocks.keys()
    yield from distil_blocks(
        teacher.network, student, plan.bases, _called, inputs, held, settings, passed=passed
    )


def parameters(network: Network) -> dict[str, int]:
    """How many numbers the parts of a network have learned: trunk, all after f⁰, and the whole.

    The 1×1 convolutions that join a trunk's levels to f⁰ count in the whole alone.
    """
    whole = _count(network)
    if isinstance(network, Unet):
        return {"unet": whole, "all": whole}
    trunk = _trunk(network)
    found = {"vgg": _count(trunk)} if trunk else {}
    return found | {"unet": whole - _count(network.features), "all": whole}


def packed(bases: Mapping[str, Basis]) -> dict[str, Tensor]:
    """Bases as tensors by name, for a file."""
    return {
        f"{name}/{field.name}": getattr(basis, field.name)
        for name, basis in bases.items()
        for field in fields(Basis)
    }


def unpacked(tensors: Mapping[str, Tensor]) -> dict[str, Basis]:
    """The bases that `packed` took apart, in double precision."""
    names = dict.fromkeys(key.rpartition("/")[0] for key in tensors)
    return {
        name: Basis(**{f.name: tensors[f"{name}/{f.name}"].double() for f in fields(Basis)})
        for name in names
    }


def _called(network: torch.nn.Module, inputs: Inputs) -> object:
    return network(*inputs)


def _trunk(network: Network) -> Trunk | None:
    features = network.features if isinstance(network, Iidm) else None
    return features.trunk if isinstance(features, Pyramid) else None


def _count(network: torch.nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())
