"""A model as a stage maps with it: how its maps are drawn, and how that is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from carbonmap import checkpoint
from carbonmap.checkpoint import Checkpoint
from carbonmap.cores import cpu_threads
from carbonmap.errors import ModelError
from carbonmap.io import files
from carbonmap.stages import common
from carbonmap.types import Json


@dataclass(frozen=True)
class Drawn:
    """A model, and how its maps are made.

    Args:
        loaded: the model.
        folder: of it.
        told: how a network draws, as `models.drawing.drawing` tells it; nothing of others.
        workers: tiles at a time. A network computes the windows of all tiles side by side: one
            more tile that is being read is enough, and others would only take memory.
        stop: ends the tiles under way at their next window; None where a tile takes seconds.
        interval: what `calibrate` found of draws made so; None where nobody did, or of other
            weights.
    """

    loaded: Checkpoint
    folder: Path
    told: Json = field(default_factory=dict)
    workers: int = common.WORKERS
    stop: Callable[[], None] | None = None
    interval: Json | None = None

    @property
    def samples(self) -> int:
        """Draws of a map; 1 of a model whose maps are all alike."""
        return int(self.told.get("samples", 1))

    @property
    def origin(self) -> Json:
        """What belongs to the origin of a map: another value makes another map."""
        found = {} if self.interval is None else {"interval": self.interval["k"]}
        return ({"drawing": self.told} if self.told else {}) | found

    @property
    def tags(self) -> dict[str, str]:
        """What a map's file says of it."""
        tags = {key: str(value) for key, value in self.told.items() if value is not None}
        if self.interval is not None:
            tags["interval"] = (
                f"{self.interval['k']:.4g} times the draws' {self.interval['reach']}, found on "
                f"{self.interval['region']}, {', '.join(self.interval['dates'])}"
            )
        return tags | ({"estimate": estimate(self.told)} if "samples" in self.told else {})


def drawn(
    folder: Path,
    threads: int | None,
    samples: int | None = None,
    steps: int | None = None,
    device: str | None = None,
) -> Drawn:
    """The model of a folder, drawing as a user wants it; what is None stays as its card says.

    Args:
        folder: what `train` wrote.
        threads: of the CPU; None for every core.
        samples: of a network that draws, the draws whose mean is the map.
        steps: of a diffusion's sampler.
        device: that a network computes on; the CPU if None.

    Raises:
        ModelError: an option says nothing to the model, or cannot be.
    """
    loaded = checkpoint.load(folder, threads)
    if "network" not in loaded.card:
        options = {"--samples": samples, "--steps": steps, "--device": device}
        for option, value in options.items():
            if value is not None:
                kind = loaded.card["kind"]
                raise ModelError(f"{option} says nothing to {kind}; leave it out")
        return Drawn(loaded, folder, workers=threads or cpu_threads())
    from carbonmap.models import drawing  # only now: it brings torch
    from carbonmap.models.neural import Neural

    assert isinstance(loaded.model, Neural)  # what `checkpoint.load` makes of such a card
    model = drawing.redrawn(loaded.model, samples, steps, device)
    changed = dataclasses.replace(loaded, model=model)
    told = drawing.drawing(model)
    found = _interval(folder, told, loaded.sha256)
    return Drawn(changed, folder, told, stop=model.stop.set, interval=found)


def interval_mark(folder: Path, told: Json) -> Path:
    """Where `calibrate` keeps, in a model's folder, what it finds of maps that are drawn so."""
    return folder / f"interval{_drawn_so(told)}.json"


def change_mark(folder: Path, told: Json) -> Path:
    """Where `calibrate --change` keeps what it finds of maps that are drawn so."""
    return folder / f"change{_drawn_so(told)}.json"


def _drawn_so(told: Json) -> str:
    steps = told.get("sampler_steps")
    draws = f"_{told['samples']}_draws" if "samples" in told else ""
    return draws + (f"_{steps}_steps" if steps else "")


def _interval(folder: Path, told: Json, sha256: str) -> Json | None:
    """What `calibrate` found of a model's own weights."""
    if told.get("samples", 1) < 2:
        return None
    held = files.read_json(interval_mark(folder, told)) or {}
    known = held.get("origin", {}).get("model") == sha256
    return held["report"] if known else None


def estimate(told: Json) -> str:
    """What of a model's draws a map is, by what is told of it."""
    if "samples" not in told:
        return "from a model"
    return "one draw of a model" if told["samples"] == 1 else f"mean of {told['samples']} draws"
