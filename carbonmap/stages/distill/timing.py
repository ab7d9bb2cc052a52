"""How long maps of two models take, measured in turn."""

from __future__ import annotations

import time
from collections.abc import Mapping

from carbonmap.grid import Grid
from carbonmap.models.neural import Neural
from carbonmap.splits import Role
from carbonmap.stages import scope
from carbonmap.stages.learn.exam import Exam
from carbonmap.tiles import tiles
from carbonmap.types import Bands

TILE_PX = 256
"""Edge of the paper's tiles (IIDM, table A3), for which seconds are told."""

ROUNDS = 5
"""Of which the least counts: other work on the machine only ever adds."""


def seconds(models: Mapping[str, Neural], exam: Exam, device: str) -> dict[str, float]:
    """Seconds of one draw of a 256² tile by each model: the least of `ROUNDS`, taken in turn.

    Of the CPU, all threads together; on a GPU by the clock.

    Args:
        models: that read the same layers.
        exam: whose land with most held-out pixels is drawn.
        device: torch's name of what computes.
    """
    clock = time.process_time if device == "cpu" else time.perf_counter
    grid = _spot(exam)
    least = dict.fromkeys(models, float("inf"))
    layers = {name: _layers(model, exam, grid) for name, model in models.items()}
    for _ in range(ROUNDS):
        for name, model in models.items():
            began = clock()
            model.draws(layers[name], grid, 1)
            least[name] = min(least[name], clock() - began)
    return {name: found * TILE_PX**2 / grid.size for name, found in least.items()}


def _layers(model: Neural, exam: Exam, grid: Grid) -> Bands:
    return scope.read_layers(exam.stacks[0], exam.sampler.grid, grid, model.layers, model.halo)


def _spot(exam: Exam) -> Grid:
    """The tile with most held-out pixels."""
    found = [
        (int(exam.sampler.candidates(tile, Role.VALIDATION)[0].sum()), -number, tile.grid)
        for number, tile in enumerate(tiles(exam.sampler.grid, TILE_PX))
    ]
    return max(found, key=lambda one: one[:2])[2]
