"""What the cards of all kinds of models hold alike, once it is known to be there."""

from __future__ import annotations

import json
import reprlib
from dataclasses import field
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from carbonmap.errors import ModelError
from carbonmap.features import FeatureSpec
from carbonmap.settings import STRICT
from carbonmap.types import Json

OPEN = ConfigDict(**{**STRICT, "extra": "ignore"})
"""As strict as settings are, but for keys that are told and never read."""

Above0 = Annotated[float, Field(gt=0)]
Pair = tuple[float, float]


@dataclass(frozen=True, config=OPEN)
class Split:
    """Of how stands were parted, what `evaluate` reads.

    Args:
        buffer_m: see `splits.SplitSpec`.
    """

    buffer_m: Annotated[float, Field(ge=0)]


@dataclass(frozen=True, config=OPEN)
class Card:
    """What stages read of any model's card.

    Args:
        kind: of model.
        features: that it sees.
        feature_names: theirs, in order.
        pixel_m: edge of the pixels that it learned from, m.
        label_scale_mg_c_ha: density that counts as 1 on the 0–1 scale.
        label_range_mg_c_ha: least and largest density that it learned from.
        feature_ranges: of each feature of the pixel by itself, as `applicability` learned them.
        image_scale: scale and offset with which its images were ingested.
        profile: of its labels.
        pools: likewise.
        split: of the stands.
        inputs: SHA-256 by name of what it learned from; older cards lack it.
        parameters: of a network, how many numbers it has learned.
        steps: of its training.
        network: what else only networks have, see `neural.Network`.
    """

    kind: str
    features: FeatureSpec
    feature_names: tuple[str, ...]
    pixel_m: Above0
    label_scale_mg_c_ha: Above0
    label_range_mg_c_ha: Pair
    feature_ranges: dict[str, Pair]
    image_scale: Pair
    profile: str
    pools: str
    split: Split
    inputs: dict[str, str] = field(default_factory=dict)
    parameters: int | None = None
    steps: int | None = None
    network: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        names = self.features.pixel_names
        if tuple(self.feature_ranges) != names:
            raise ValueError(
                f"its feature_ranges are of {tuple(self.feature_ranges)}, and its features {names}"
            )


def require_card(name: str, held: Json) -> None:
    """Refuse a card that lacks what stages read of it, or has it in another form.

    Args:
        name: of the card, for messages.
        held: what it says.

    Raises:
        ModelError: it does.
    """
    try:
        TypeAdapter(Card).validate_json(json.dumps(held))
        if "inputs" not in held["features"]:  # it has a default, and stages read it by name
            raise KeyError("features.inputs")
    except (KeyError, ValueError, RecursionError) as error:
        raise ModelError(f"{name} cannot be understood: {reason(error)}; train it anew") from None


def reason(error: Exception) -> str:
    """Why a card, or a table of it, cannot be understood."""
    if isinstance(error, ValidationError):
        return "; ".join(_fault(dict(one)) for one in error.errors(include_url=False))
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _fault(one: dict[str, Any]) -> str:
    """One of pydantic's errors in our words: the key, what it is and what it should be."""
    key, message = ".".join(map(str, one["loc"])), str(one["msg"]).removeprefix("Value error, ")
    if one["type"] == "missing":
        return f"{key!r} is missing"
    return f"{key} is {reprlib.repr(one['input'])}: {message}" if key else message
