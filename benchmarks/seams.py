"""Seams: how maps step, and how they vary, where two of a network's windows meet.

Land has edges of its own, and by chance more of them lie on some lines than on others. So the same
land is mapped twice, the second time with the lattice of windows moved by half a cell, and what is
told is the ratio of the two along the first lattice's lines: the mean absolute step between the two
pixels on either side (a seam steps more), and the mean standard deviation of the six pixels across
(a blur varies less), each with its standard error over the lines. Beside them stand the same
figures without blending. Targets: 0.98 to 1.02.

    python benchmarks/seams.py --project FOLDER --model FOLDER --dates 2020-11 [--edge 1024]
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np

from carbonmap import checkpoint, config
from carbonmap.dates import parse_periods
from carbonmap.lazy import open_stack
from carbonmap.models import neural, windows
from carbonmap.stages import region as region_
from carbonmap.stages import scope

ACROSS = 6
"""Pixels of which the deviation is told: half of them on either side of a line."""


def steps(maps):
    """Absolute differences of neighbours along the rows, ``(draw, row − 1, col)``."""
    return np.abs(np.diff(maps, axis=1))


def deviations(maps):
    """Standard deviation of `ACROSS` neighbours along the rows."""
    return np.lib.stride_tricks.sliding_window_view(maps, ACROSS, axis=1).std(-1)


FIGURES = {"step": (steps, 1), "deviation": (deviations, ACROSS // 2)}
"""Function, and rows from its own row to the one just beyond the line that it straddles."""


def sums(maps, first, tile_px, figure):
    """Sum of a figure along every line of the windows' lattice, and its number."""
    function, ahead = FIGURES[figure]
    found = function(maps.astype(np.float64))
    n, period = windows.cells(tile_px), windows.PERIOD_PX
    edges = [k * period // n for k in range(n)]
    lines = [r for r in range(found.shape[1]) if (first + r + ahead) % period in edges]
    known = np.isfinite(found[:, lines])
    return np.where(known, found[:, lines], 0).sum((0, 2)), known.sum((0, 2))


def ratio(found, moved, part, tile_px, figure):
    """Of the sums on the lattice's lines, rows and columns together, with its standard error."""
    pairs = []
    for swap, first in ((False, part.row), (True, part.col)):
        own, other = (m.transpose(0, 2, 1) if swap else m for m in (found, moved))
        (a, count), (b, same) = (sums(m, first, tile_px, figure) for m in (own, other))
        assert (count == same).all()
        pairs.append(np.stack([a, b]))
    a, b = np.concatenate(pairs, axis=1)
    whole = a.sum() / b.sum()
    return whole, np.sqrt(((a - whole * b) ** 2).sum()) / b.sum()


def main():
    """Map twice, by blended windows and by others, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--project", type=Path, default=Path())
    parser.add_argument("--region")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--dates", required=True)
    parser.add_argument("--edge", type=int, default=1024, help="of the land, pixels")
    parser.add_argument("--draws", type=int, default=1)
    given = parser.parse_args()
    project = config.load(given.project / "carbonmap.toml")
    name, grid = region_.region_of(project, given.region)
    model = checkpoint.load(given.model, project.output.threads).model
    days = scope.image_days(project.archive, name, parse_periods(given.dates))
    stack = open_stack(project.archive, name, days[:1])
    top, left = ((length - min(given.edge, length)) // 2 for length in grid.shape)
    part = grid[top : top + given.edge, left : left + given.edge]
    half = windows.PERIOD_PX // windows.cells(model.tile_px) // 2
    moved = dataclasses.replace(part, row=part.row + half, col=part.col + half)
    layers = scope.read_layers(stack, grid, part, model.layers, model.halo)

    def mapped(where, blends):
        neural.reach = windows.reach if blends else lambda _: 0
        return model.draws(layers, where, given.draws)

    other = mapped(moved, blends=True)
    for blends in (False, True):
        found = mapped(part, blends)
        told = [ratio(found, other, part, model.tile_px, figure) for figure in FIGURES]
        text = ", ".join(f"{f} {r:.3f} ± {e:.3f}" for f, (r, e) in zip(FIGURES, told, strict=True))
        print(f"{'blended' if blends else 'side by side'}: {text}", flush=True)


if __name__ == "__main__":
    main()
