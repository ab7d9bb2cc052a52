"""Toy learners and patches on which training takes milliseconds."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from carbonmap.diffusion.spec import DiffusionSpec
from carbonmap.learning.diffusion import Diffusion, MeanAndResidual, Residual
from carbonmap.learning.learner import Batch, Part
from carbonmap.learning.loop import fit
from carbonmap.learning.regression import Regression, squared_error
from carbonmap.learning.settings import Training
from carbonmap.learning.state import begin
from carbonmap.networks.iidm import Iidm
from carbonmap.networks.specs import IidmSpec, UnetSpec
from carbonmap.networks.unet import Unet

CPU = torch.device("cpu")
BANDS = 3


def settings(steps=10, **more):
    return Training(**{"steps": steps, "warmup_steps": 0, "learning_rate": 1e-2, **more})


def patches(step, count=4, size=16, gap=0.3):
    """Patches of a step: the target is a smooth function of the bands, known where it is drawn."""
    random = torch.Generator().manual_seed(1000 + step)
    condition = torch.randn(count, BANDS, size, size, generator=random)
    condition[:, -1] = 1
    weight = (torch.rand(count, 1, size, size, generator=random) >= gap).float()
    target = torch.tanh(condition[:, :1] - 0.5 * condition[:, 1:2])
    return Batch(condition, torch.where(weight > 0, target, -1), weight)


def noise(seed, batch=2, size=16):
    """A `Noise` that remembers what it was asked for."""
    asked = []

    def field(name, channels, stride=1):
        asked.append(name)
        random = torch.Generator().manual_seed(hash((seed, *name.encode())) % 2**40)
        return torch.randn(batch, channels, size // stride, size // stride, generator=random)

    field.asked = asked
    return field


@dataclass(frozen=True)
class Toy:
    """Networks that regress on their own, each a part."""

    modules: dict
    network: nn.Module
    generative: bool = False

    @property
    def parts(self):
        return tuple(Part(n, m, partial(self.loss, m)) for n, m in self.modules.items())

    def loss(self, module, batch, random):
        jitter = torch.randn(batch.target.shape, generator=random)
        return squared_error(module(batch.condition) + 0.1 * jitter, batch)

    def draw(self, condition, _):
        return self.network(condition)


def wobbly(seed=0):
    """A network with all that a resumed run could get wrong: statistics and dropout."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(BANDS, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Conv2d(6, 1, 1),
    )


def toy(*names):
    modules = {name: wobbly(seed) for seed, name in enumerate(names or ("only",))}
    return Toy(modules, modules[list(modules)[-1]])


def unet(bands=BANDS, norm="batch", seed=0):
    torch.manual_seed(seed)
    return Unet(UnetSpec(bands, (4, 6), norm=norm, dropout=0.1))


def regression(norm="batch"):
    return Regression(unet(norm=norm))


def iidm(bands=BANDS, seed=0):
    torch.manual_seed(seed)
    spec = IidmSpec(bands, None, 4, (4, 6), attention_stride=2, hidden=4, embedding=8, dropout=0.1)
    return Iidm(spec)


def narrow(bands):
    """The smallest IIDM that has all its parts but a VGG, and no statistics of a batch."""
    return IidmSpec(
        bands, vgg=None, features=4, widths=(4, 8), norm="channel", hidden=4, embedding=4,
        attention_stride=2,
    )  # fmt: skip


def answering(bands, deviation):
    """One whose last convolution is drawn: it starts at zero, and would draw noise anywhere."""
    torch.manual_seed(0)
    network = Iidm(narrow(bands))
    nn.init.normal_(network.last.weight, std=deviation)
    return network


def diffusion(**spec):
    return Diffusion(iidm(), DiffusionSpec(**{"steps": 3, **spec}))


def residual(**spec):
    network = MeanAndResidual(unet(), iidm(BANDS + 1, seed=1))
    return Residual(network, DiffusionSpec(**{"steps": 3, **spec}))


def trained(learner, chosen, batches=patches, state=None, seed=0):
    """The run's state and its progress, to the end."""
    state = begin(learner, chosen, CPU) if state is None else state
    return state, list(fit(learner, batches, chosen, CPU, state, seed=seed))


def values(module):
    """Copies of all its tensors by name."""
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def same(one, other):
    """Whether two sets of tensors are equal to the bit."""
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)
