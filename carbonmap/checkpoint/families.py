"""The families of networks that a model folder can hold, in one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from carbonmap.diffusion.spec import DiffusionSpec
from carbonmap.errors import ModelError, nearest
from carbonmap.learning.diffusion import Diffusion, MeanAndResidual, Residual
from carbonmap.learning.gan import GanLearner
from carbonmap.learning.learner import Learner
from carbonmap.learning.regression import Regression
from carbonmap.learning.vae import VaeLearner
from carbonmap.networks.iidm import Iidm
from carbonmap.networks.rival_specs import GanSpec, VaeSpec
from carbonmap.networks.specs import IidmSpec, UnetSpec
from carbonmap.networks.unet import Unet
from carbonmap.settings import Spec
from carbonmap.types import Json

Specs = Mapping[str, Any]
"""Specifications by the names that a family gives them."""


@dataclass(frozen=True)
class Family:
    """How one family is made from plain values, and taken apart again.

    Args:
        learner: its class.
        specs: classes of its specifications by name; the first one's bands are the condition's.
        build: from specifications to a learner with fresh weights.
        apart: from a learner to its specifications, in the order of `specs`.
    """

    learner: type
    specs: Mapping[str, type[Spec]]
    build: Callable[..., Learner]
    apart: Callable[[Any], tuple[Spec, ...]]


FAMILIES = {
    "unet": Family(
        Regression,
        {"network": UnetSpec},
        lambda network: Regression(Unet(network)),
        lambda learner: (learner.network.spec,),
    ),
    "iidm": Family(
        Diffusion,
        {"network": IidmSpec, "diffusion": DiffusionSpec},
        lambda network, diffusion: Diffusion(Iidm(network), diffusion),
        lambda learner: (learner.network.spec, learner.spec),
    ),
    "iidm-residual": Family(
        Residual,
        {"mean": UnetSpec, "residual": IidmSpec, "diffusion": DiffusionSpec},
        lambda mean, residual, diffusion: Residual(
            MeanAndResidual(Unet(mean), Iidm(residual)), diffusion
        ),
        lambda learner: (learner.network.mean.spec, learner.network.residual.spec, learner.spec),
    ),
    "vae": Family(
        VaeLearner,
        {"network": VaeSpec},
        lambda network: VaeLearner.of(network),
        lambda learner: (learner.network.spec,),
    ),
    "gan": Family(
        GanLearner,
        {"network": GanSpec},
        lambda network: GanLearner.of(network),
        lambda learner: (learner.network.spec,),
    ),
}
"""By the name that a card and the command line give it."""


def family(name: str) -> Family:
    """A family by its name.

    Raises:
        ModelError: there is none of that name.
    """
    if name not in FAMILIES:
        raise ModelError(f"{name!r} is no family of networks; {nearest(str(name), FAMILIES)}")
    return FAMILIES[name]


def family_of(learner: Learner) -> str:
    """The name of a learner's family.

    Raises:
        ModelError: it is of none.
    """
    for name, known in FAMILIES.items():
        if type(learner) is known.learner:
            return name
    raise ModelError(f"{type(learner).__name__} is of no family; {nearest('', FAMILIES)}")


def build(name: str, specs: Specs) -> Learner:
    """A learner of a family with fresh weights, by torch's own generator."""
    return family(name).build(**specs)


def to_json(learner: Learner) -> Json:
    """A learner's specifications as plain values, from which `specs_of` makes the equal ones."""
    known = family(family_of(learner))
    return {
        name: spec.to_json() for name, spec in zip(known.specs, known.apart(learner), strict=True)
    }


def specs_of(name: str, held: Mapping[str, Any]) -> dict[str, Any]:
    """A family's specifications from plain values.

    Raises:
        ModelError: there is no such family.
        ValueError: a specification is missing, unknown or impossible.
    """
    known = family(name).specs
    if set(held) != set(known):
        raise ValueError(f"specs are {sorted(held)}, and {name!r} has {sorted(known)}")
    return {key: known[key].from_json(value) for key, value in held.items()}


def bands_of(name: str, specs: Specs) -> int:
    """Channels of the condition that a family's network takes."""
    return int(specs[next(iter(family(name).specs))].bands)
