"""Which models are compared: by name, each with its own settings."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from carbonmap.errors import ModelError, nearest
from carbonmap.project import KINDS, NETWORKS, Model, Project

DENOISERS = ("iidm", "iidm-residual")
"""Families that share the settings of network and diffusion."""


@dataclass(frozen=True)
class Entry:
    """One model of a comparison.

    Args:
        name: as the user wrote it: a family, or ``family:preset``.
        folder: of the trained model.
        project: the settings with which it is trained; None for a model that is only loaded.
    """

    name: str
    folder: Path
    project: Project | None


def entries(
    project: Project, names: Sequence[str], loaded: Sequence[tuple[str, Path]], out: Path
) -> list[Entry]:
    """The models to train, in the order given, and then those that are there already.

    Args:
        project: the settings, of which family and preset are replaced.
        names: families or ``family:preset``.
        loaded: names and folders of trained models.
        out: folder of the comparison; models go to ``models/`` in it.

    Raises:
        ModelError: a family or preset is unknown, two models have one name, or settings of a
            network are given that none of them heeds.
    """
    found = [_entry(project, name, out) for name in names]
    _require_heeded(project.model, [e.project.model for e in found if e.project is not None])
    found += [Entry(name, folder, None) for name, folder in loaded]
    held = [entry.name for entry in found]
    if twice := sorted({name for name in held if held.count(name) > 1}):
        raise ModelError(f"two models of the comparison are called {twice[0]!r}; rename one")
    if not found:
        raise ModelError(f"there is nothing to compare; name models: {', '.join(KINDS)}")
    return found


def _entry(project: Project, name: str, out: Path) -> Entry:
    kind, colon, preset = name.partition(":")
    if colon and not preset:
        raise ModelError(f"model {name!r} names no preset after its colon; say {kind!r}")
    if kind not in KINDS:
        raise ModelError(f"model {name!r} is not known; {nearest(kind, KINDS)}")
    if preset and kind not in NETWORKS:
        raise ModelError(f"model {name!r} has no presets; say {kind!r}")
    model = dataclasses.replace(project.model, kind=kind, preset=preset or project.model.preset)  # type: ignore[arg-type]
    model = _fitting(model, project.model.kind)
    _require_possible(model)
    folder = out / "models" / re.sub(r"[^A-Za-z0-9.-]+", "-", name)
    return Entry(name, folder, dataclasses.replace(project, model=model))


def _fitting(model: Model, own: str) -> Model:
    """Without settings of another family's network.

    Those of a project are its own family's where that is a network, else the IIDM's.
    """
    owner = own if own in NETWORKS else "iidm"
    if model.kind == owner or {model.kind, owner} <= set(DENOISERS):
        return model
    return dataclasses.replace(model, network={}, diffusion={})


def _require_heeded(given: Model, models: Sequence[Model]) -> None:
    """Refuse settings of a network that no model would heed."""
    for name in ("network", "diffusion"):
        if models and getattr(given, name) and not any(getattr(m, name) for m in models):
            raise ModelError(
                f"`model.{name}` is set, and none of the models compared heeds it; leave it out, "
                f"or set `model.kind` to the family that it is meant for"
            )


def _require_possible(model: Model) -> None:
    """Refuse a network that cannot be made before others have trained for hours."""
    if model.kind in NETWORKS:
        from carbonmap.stages.learn.prepare import require_possible  # only now: it brings torch

        require_possible(model)
