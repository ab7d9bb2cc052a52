"""Whether land looks like the land that a model learned from: a regressor cannot know by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from carbonmap.types import Floats

PERCENTILES = (0.1, 99.9)
"""What lies between them was learned; single bright roofs and shadows stretch no range."""

FOREIGN = 0.25
"""Share of a map's pixels outside a feature's learned range from which its reader is warned. A
region as large and varied as the model's own stays far below it; swapped bands do not."""

Ranges = Mapping[str, Sequence[float]]
"""Lowest and highest learned value by feature."""


def learned_ranges(x: Floats, names: Sequence[str]) -> dict[str, list[float]]:
    """The range of each of the first features, between `PERCENTILES`.

    Args:
        x: what a model learned from, ``(pixel, feature)``.
        names: of the first of these features; the others are left out.
    """
    low, high = np.percentile(x[:, : len(names)].astype(np.float64), PERCENTILES, axis=0)
    return {n: [float(a), float(b)] for n, a, b in zip(names, low, high, strict=True)}


def outside(x: Floats, ranges: Ranges) -> dict[str, float]:
    """Share of pixels that lie outside each feature's learned range, 0–1.

    Args:
        x: ``(pixel, feature)``, the ranges' features first; at least one pixel.
        ranges: as `learned_ranges` gave them.
    """
    low, high = np.array(list(ranges.values())).T
    seen = x[:, : len(ranges)]
    share = ((seen < low) | (seen > high)).mean(axis=0)
    return dict(zip(ranges, map(float, share), strict=True))


def warnings(shares: Mapping[str, float], ranges: Ranges) -> list[str]:
    """A sentence for every feature of which the model learned too little for this land."""
    return [
        f"{share:.0%} of the pixels have a {name} outside what the model learned "
        f"({ranges[name][0]:.4g} to {ranges[name][1]:.4g}): check the order of the bands, --scale "
        f"and the season, or train on land like this"
        for name, share in shares.items()
        if share > FOREIGN
    ]
