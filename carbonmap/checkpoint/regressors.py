"""A regressor's part of a model folder: its card, and its estimator without pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
        held: what the card says, as `shared.require_card` accepts it.

    Raises:
        ModelError: the card is of no regressor known here, or the estimator is not what it says.
    """
    kind, spec = held["kind"], FeatureSpec.from_json(held["features"])
    _require_known(name, kind, spec, held)
    estimator = persist.from_bytes(path.read_bytes(), str(path))
    _require_kind(str(path), estimator, kind, spec)
    pixel_m, scale = float(held["pixel_m"]), float(held["label_scale_mg_c_ha"])
    return Regressor(kind, spec, estimator, pixel_m, scale)


def _require_known(name: str, kind: str, spec: FeatureSpec, held: Json) -> None:
    """Refuse a card of what is no regressor, or of other features than are computed here."""
    if kind not in RECIPES:
        raise ModelError(
            f"{name} is of kind {kind!r}, which is not known here; {nearest(kind, RECIPES)}"
        )
    if "network" in held:
        raise ModelError(f"{name} tells of a network, and {kind!r} has none; train it anew")
    if list(spec.names) != held["feature_names"]:
        raise ModelError(
            f"{name} was trained on other features than this carbonmap computes from the same "
            f"settings; train the model anew"
        )


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
