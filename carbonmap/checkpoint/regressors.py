"""A regressor's part of a model folder: its card, and its estimator without pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from carbonmap.errors import ModelError, nearest
from carbonmap.features import FeatureSpec
from carbonmap.io import files
from carbonmap.models import persist
from carbonmap.models.regressors import RECIPES, Regressor, step_names
from carbonmap.types import Json

WEIGHTS = "model.skops"
"""The estimator."""

FORMAT = 1
"""Version of a regressor's card; see `checkpoint.folder`."""


def card(model: Regressor) -> Json:
    """What `load` needs to know of a model, as plain values."""
    return {
        "model_format": FORMAT,
        "kind": model.kind,
        "features": model.spec.to_json(),
        "feature_names": list(model.spec.names),
        "layers": list(model.layers),
        "pixel_m": model.pixel_m,
        "label_scale_mg_c_ha": model.scale,
    }


def write_weights(folder: Path, model: Regressor) -> Path:
    """Write the weights, whole or not at all; the card must follow.

    Raises:
        WriteError: they cannot be written.
    """
    path = folder / WEIGHTS
    with files.partial(path) as unfinished:
        unfinished.write_bytes(persist.to_bytes(model.estimator))
    return path


def read(path: Path, name: str, held: Json) -> Regressor:
    """The regressor of a folder that is whole.

    Args:
        path: of the estimator.
        name: of the card, for messages.
        held: what the card says.

    Raises:
        ModelError: the card cannot be understood, or the estimator is not what it says.
    """
    kind, spec, pixel_m, scale = _facts(name, held)
    estimator = persist.from_bytes(path.read_bytes(), str(path))
    _require_kind(str(path), estimator, kind, spec)
    return Regressor(kind, spec, estimator, pixel_m, scale)


def _facts(name: str, held: Json) -> tuple[str, FeatureSpec, float, float]:
    """Kind, features, pixel and scale from a card."""
    try:
        kind, spec = held["kind"], FeatureSpec.from_json(held["features"])
        pixel_m, scale = float(held["pixel_m"]), float(held["label_scale_mg_c_ha"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{name} cannot be understood: {reason(error)}; train it anew") from None
    if kind not in RECIPES:
        raise ModelError(
            f"{name} is of kind {kind!r}, which is not known here; {nearest(str(kind), RECIPES)}"
        )
    if list(spec.names) != held.get("feature_names"):
        raise ModelError(
            f"{name} was trained on other features than this carbonmap computes from the same "
            f"settings; train the model anew"
        )
    return kind, spec, pixel_m, scale


def reason(error: Exception) -> str:
    """Why a card cannot be understood."""
    if isinstance(error, ValidationError):
        faults = ((".".join(map(str, e["loc"])), e["msg"]) for e in error.errors())
        return "; ".join(f"features.{key}: {message}" for key, message in faults)
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _require_kind(name: str, estimator: Any, kind: str, spec: FeatureSpec) -> None:
    """Refuse weights of another kind or width than the card's."""
    found, want = step_names(estimator), step_names(RECIPES[kind].estimator(0))
    if found != want:
        raise ModelError(f"{name} holds {found}, and its card's {kind!r} is {want}; train it anew")
    if estimator.n_features_in_ != len(spec.names):
        raise ModelError(
            f"{name} takes {estimator.n_features_in_} features, and its card names "
            f"{len(spec.names)}; train it anew"
        )
