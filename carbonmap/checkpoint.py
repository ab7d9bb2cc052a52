"""A model folder: the weights, and a card that says what they are.

model.skops     the estimator, without pickle
split.parquet   the stands it learned from and those held out (written by `train`)
model.json      the card, written last, with size and SHA-256 of the others
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from carbonmap.errors import CorruptData, MissingInput, ModelError, nearest
from carbonmap.features import FeatureSpec
from carbonmap.io import files, output
from carbonmap.models import persist
from carbonmap.models.protocol import Model
from carbonmap.models.regressors import RECIPES, Regressor, step_names
from carbonmap.types import Json

MARK = "model.json"
"""The card, by which a model folder is known to be complete."""

WEIGHTS = "model.skops"
"""The estimator."""

FORMAT = 1
"""Version of the card's own part of `MARK`; to be raised when an older reader would misread it."""


@dataclass(frozen=True)
class Checkpoint:
    """What a model folder holds.

    Args:
        model: ready to predict.
        card: what `card` wrote, and whatever `train` added to it.
        sha256: of the weights.
    """

    model: Model
    card: Json
    sha256: str


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


def load(folder: Path) -> Checkpoint:
    """The model of a folder, once it is known to be whole and to hold nothing but data.

    Raises:
        ModelError: a file is missing or changed since, the folder is of a newer carbonmap, or the
            weights are not what the card says.
    """
    try:
        mark = output.require_complete(folder / MARK, "model")
    except (MissingInput, CorruptData) as error:
        raise ModelError(str(error)) from None
    name, held = str(folder / MARK), mark.get("report")
    if not isinstance(held, dict) or WEIGHTS not in mark.get("files", {}):
        raise ModelError(f"{name} is no model's card; give the folder that `carbonmap train` wrote")
    _require_format(name, mark, held)
    kind, spec, pixel_m, scale = _facts(name, held)
    estimator = persist.from_bytes((folder / WEIGHTS).read_bytes(), str(folder / WEIGHTS))
    _require_kind(str(folder / WEIGHTS), estimator, kind, spec)
    model = Regressor(kind, spec, estimator, pixel_m, scale)
    return Checkpoint(model, held, mark["files"][WEIGHTS]["sha256"])


def _require_format(name: str, mark: Json, held: Json) -> None:
    versions = (mark.get("format"), held.get("model_format"))
    if versions != (output.FORMAT, FORMAT):
        raise ModelError(
            f"{name} has formats {versions}, and this carbonmap reads {(output.FORMAT, FORMAT)}; "
            f"use the carbonmap that wrote it ({held.get('carbonmap', 'unknown')}) or a newer one, "
            f"or train the model anew"
        )


def _facts(name: str, held: Json) -> tuple[str, FeatureSpec, float, float]:
    """Kind, features, pixel and scale from a card."""
    try:
        kind, spec = held["kind"], FeatureSpec.from_json(held["features"])
        pixel_m, scale = float(held["pixel_m"]), float(held["label_scale_mg_c_ha"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{name} cannot be understood: {_reason(error)}; train it anew") from None
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


def _reason(error: Exception) -> str:
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
