"""Reading a model folder, whatever kind of model it holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from carbonmap.checkpoint import regressors
from carbonmap.checkpoint.layout import MARK, NETWORK, WEIGHTS_OF
from carbonmap.checkpoint.shared import require_card
from carbonmap.errors import CorruptData, MissingInput, ModelError
from carbonmap.io import output
from carbonmap.models.protocol import Model
from carbonmap.types import Json


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


def load(folder: Path, threads: int | None = None, device: str = "cpu") -> Checkpoint:
    """The model of a folder, once it is known to be whole and to hold nothing but data.

    Args:
        folder: what `train` wrote.
        threads: of a network, as `models.neural.Neural` takes them.
        device: torch's name of what computes a network; nothing else heeds it.

    Raises:
        ModelError: a file is missing or changed since, the folder is of a newer carbonmap, the card
            lacks what stages read of it, or the weights are not what it says.
    """
    try:
        mark = output.require_complete(folder / MARK, "model")
    except (MissingInput, CorruptData) as error:
        raise ModelError(str(error)) from None
    name, held = str(folder / MARK), mark.get("report")
    if not isinstance(held, dict) or not isinstance(mark.get("files"), dict):
        raise ModelError(f"{name} is no model's card; give the folder that `carbonmap train` wrote")
    _require_format(name, mark, held)
    weights = folder / WEIGHTS_OF[held["model_format"]]
    if weights.name not in mark["files"]:
        raise ModelError(f"{name} is no model's card; give the folder that `carbonmap train` wrote")
    require_card(name, held)
    return Checkpoint(_model(weights, name, held, threads, device), held, weights_hash(mark))


def weights_hash(mark: Json) -> str:
    """SHA-256 of a model's weights, by a mark that `output.require_complete` has accepted."""
    weights = next(w for w in WEIGHTS_OF.values() if w in mark["files"])
    return str(mark["files"][weights]["sha256"])


def _model(weights: Path, name: str, held: Json, threads: int | None, device: str) -> Model:
    if weights.name != NETWORK:
        return regressors.read(weights, name, held)
    from carbonmap.checkpoint import neural  # only now: it brings torch

    return neural.read(weights, name, held, threads, device)


def _require_format(name: str, mark: Json, held: Json) -> None:
    versions = (mark.get("format"), held.get("model_format"))
    readable = [(output.FORMAT, version) for version in WEIGHTS_OF]
    if versions not in readable:
        raise ModelError(
            f"{name} has formats {versions}, and this carbonmap reads "
            f"{' and '.join(map(str, readable))}; use the carbonmap that wrote it "
            f"({held.get('carbonmap', 'unknown')}) or a newer one, or train the model anew"
        )
