"""A network's part of a model folder: its card, and its weights without pickle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, TypeAdapter
from pydantic.dataclasses import dataclass

from carbonmap.checkpoint import families, tensors
from carbonmap.checkpoint.layout import FORMAT, NETWORK
from carbonmap.checkpoint.mlm import to_mlm
from carbonmap.checkpoint.shared import reason
from carbonmap.checkpoint.tensors import Storage
from carbonmap.errors import ModelError
from carbonmap.features import FeatureSpec
from carbonmap.learning.learner import Learner
from carbonmap.learning.settings import MOST_PX, Precision
from carbonmap.models.neural import Neural, ready
from carbonmap.normalise import Inputs, Normalisation
from carbonmap.settings import STRICT
from carbonmap.types import Json


@dataclass(frozen=True, config=STRICT)
class Network:
    """The card's table of what only networks have.

    Args:
        specs: of the network and its diffusion, by the names of its `families.Family`.
        channels: that the network takes, in order.
        normalisation: of the channels.
        tile_px: edge of the patches that it learned from.
        samples: draws whose mean is the map.
        seed: of the draws.
        storage: of the weights.
        precision: in which it learned, and maps are computed; older cards lack it.
    """

    specs: dict[str, dict[str, Any]]
    channels: tuple[str, ...]
    normalisation: Normalisation
    tile_px: Annotated[int, Field(ge=1, le=MOST_PX)]
    samples: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0)]
    storage: Storage = "float32"
    precision: Precision = "auto"


def card(model: Neural, storage: Storage = "float32") -> Json:
    """What `checkpoint.load` needs to know of a network, as plain values.

    The keys that a regressor's card has too mean the same here.

    Args:
        model: its learner as it learned, or as `models.neural.ready` folds it.
        storage: with which `write` was called.
    """
    kind, specs = families.family_of(model.learner), families.to_json(model.learner)
    count = parameters(_outline(kind, families.specs_of(kind, specs)))
    network = Network(
        specs,
        model.inputs.channels,
        model.norm,
        model.tile_px,
        model.samples,
        model.seed,
        storage,
        model.precision,
    )
    return {
        "model_format": FORMAT,
        "kind": kind,
        "features": model.inputs.features.to_json(),
        "feature_names": list(model.inputs.features.names),
        "layers": list(model.layers),
        "pixel_m": model.pixel_m,
        "label_scale_mg_c_ha": model.scale,
        "parameters": count,
        "network": json.loads(TypeAdapter(Network).dump_json(network)),
        "mlm": to_mlm(model, kind, count),
    }


def write(folder: Path, learner: Learner, storage: Storage = "float32") -> Path:
    """Write the weights that maps need, whole or not at all; the card must follow.

    Args:
        folder: of the model.
        learner: as it learned, its norms not folded.
        storage: "bfloat16" or "float16" for small files.

    Raises:
        ModelError: a weight is not finite.
        WriteError: they cannot be written.
    """
    return tensors.write(folder / NETWORK, learner.network.state_dict(), storage)


def read(path: Path, name: str, held: Json, threads: int | None, device: str) -> Neural:
    """The network of a folder that is whole, ready to predict.

    Args:
        path: of the weights.
        name: of the card, for messages.
        held: what the card says, as `shared.require_card` accepts it.
        threads: windows at a time; None for every core.
        device: torch's name of what computes.

    Raises:
        ModelError: the card cannot be understood, or the weights are not what it says.
    """
    kind, specs, model = _facts(name, held)
    learner, state = _outlined(name, kind, specs), tensors.read(path)
    want = learner.network.state_dict()
    tensors.require_state(str(path), state, tensors.cast(want, model.storage))
    own = {key: state[key].to(value.dtype) for key, value in want.items()}
    learner.network.load_state_dict(own, assign=True)
    learner.network.to(device)
    inputs = Inputs(FeatureSpec.from_json(held["features"]).inputs)
    return Neural(
        ready(learner),
        inputs,
        model.normalisation,
        model.tile_px,
        held["pixel_m"],
        held["label_scale_mg_c_ha"],
        model.samples,
        model.seed,
        threads,
        precision=model.precision,
    )


def round_to(learner: Learner, storage: Storage) -> None:
    """Give a learner the weights that it will have once written and read."""
    network = learner.network
    held = network.state_dict()
    kept = tensors.stored(held, storage)
    network.load_state_dict({key: kept[key].to(value) for key, value in held.items()})


def parameters(learner: Learner) -> int:
    """How many numbers a map's network has learned."""
    return sum(p.numel() for p in learner.network.parameters())


def _outline(kind: str, specs: families.Specs) -> Learner:
    """A learner whose tensors have shapes and types but no memory, however large they are."""
    with torch.device("meta"):
        return families.build(kind, specs)


def _outlined(name: str, kind: str, specs: families.Specs) -> Learner:
    """The outline of a card's learner, of which only the network is to be filled.

    What a family needs to learn alone, such as a discriminator, stays an outline.
    """
    try:
        return _outline(kind, specs)
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:  # sizes past 64 bits
        told = str(error).partition("\n")[0]
        raise ModelError(f"{name} is of a network that cannot be built: {told}") from None


def _facts(name: str, held: Json) -> tuple[str, dict[str, Any], Network]:
    """Family, its specifications, and the rest of a card, once they fit each other."""
    try:
        kind, spec = held["kind"], FeatureSpec.from_json(held["features"])
        network = TypeAdapter(Network).validate_json(json.dumps(held["network"]))
        specs = families.specs_of(kind, network.specs)
        _require_fit(Inputs(spec.inputs), spec, network, families.bands_of(kind, specs), held)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{name} cannot be understood: {reason(error)}; train it anew") from None
    return kind, specs, network


def _require_fit(
    inputs: Inputs, spec: FeatureSpec, network: Network, bands: int, held: Json
) -> None:
    """Refuse a card whose parts speak of different channels."""
    if spec != inputs.features or held.get("feature_names") != list(spec.names):
        raise ValueError("its features are not those that a network reads")
    if held.get("layers") != list(inputs.layers):
        raise ValueError(f"its layers are {held.get('layers')}, and its inputs' {inputs.layers}")
    if network.channels != inputs.channels:
        raise ValueError(f"its channels are {network.channels}, and its inputs' {inputs.channels}")
    if len(network.normalisation.mean) != len(inputs.channels) - 1:
        raise ValueError(f"it has {len(network.normalisation.mean)} means for {inputs.channels}")
    if bands != len(inputs.channels):
        raise ValueError(f"its network takes {bands} bands, and its inputs are {inputs.channels}")
