"""Errors by class of density, and of the map that knows nothing but the labels' mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from carbonmap.errors import GridMismatch, ModelError
from carbonmap.metrics import Errors, errors
from carbonmap.types import Floats, Ints, Json

DENSITY_EDGES = (0.0, 25.0, 50.0, 100.0, 150.0, 200.0, 300.0)
"""Mg C/ha: open land and saplings, young stands, then steps in which maps are wont to saturate."""


def class_of(values: Floats, edges: Sequence[float]) -> Ints:
    """The class of each value: the last edge not above it, the first class for what is below all.

    Raises:
        ModelError: the edges do not rise.
    """
    if not edges or any(b <= a for a, b in pairwise(edges)):
        raise ModelError(f"classes need edges that rise, not {tuple(edges)}")
    return np.clip(np.searchsorted(np.asarray(edges), values, side="right") - 1, 0, None)


@dataclass(frozen=True)
class Classes:
    """Errors in each class; ``a + b`` is that of both sets together.

    Args:
        edges: Mg C/ha, rising; the last class has no upper end.
        errors: of each class.
    """

    edges: tuple[float, ...]
    errors: tuple[Errors, ...]

    def __add__(self, other: Classes) -> Classes:
        if self.edges != other.edges:
            raise ModelError(f"classes {self.edges} cannot be added to {other.edges}; use the same")
        return Classes(
            self.edges, tuple(a + b for a, b in zip(self.errors, other.errors, strict=True))
        )

    def to_json(self) -> Json:
        """Of each class: its edges, pixels, bias and RMSE, the last two None where it is empty."""
        return {
            "classes": [
                {
                    "from_mg_c_ha": low,
                    "to_mg_c_ha": high,
                    "pixels": e.count,
                    "pixels_missing": e.missing,
                    "bias_mg_c_ha": e.bias if e.count else None,
                    "rmse_mg_c_ha": e.rmse if e.count else None,
                }
                for low, high, e in zip(
                    self.edges, (*self.edges[1:], None), self.errors, strict=True
                )
            ]
        }


def class_errors(
    prediction: Floats,
    truth: Floats,
    edges: Sequence[float] = DENSITY_EDGES,
    *,
    by: Floats | None = None,
) -> Classes:
    """Errors of one tile in each class of the truth, or of another value.

    By the truth, even the best mean is too low in the highest class and too high in the lowest,
    since what cannot be seen is drawn to the middle; by the prediction a mean that is right on
    average has no bias in any class. A table should have both.

    Args:
        prediction: any shape; NaN where unknown.
        truth: same shape; NaN where unknown.
        edges: Mg C/ha, rising.
        by: what is classed, same shape; the truth unless given. NaN is in no class.

    Raises:
        GridMismatch: the shapes differ.
        ModelError: the edges do not rise.
    """
    values = truth if by is None else by
    for name, array in (("prediction", prediction), ("what is classed", values)):
        if array.shape != truth.shape:
            raise GridMismatch(name, got=array.shape, want=truth.shape)
    known = np.isfinite(values)
    place = class_of(np.where(known, values, edges[0]), edges)
    held = [known & (place == number) for number in range(len(edges))]
    return Classes(tuple(edges), tuple(errors(prediction[h], truth[h]) for h in held))


@dataclass(frozen=True)
class Dummy:
    """The mean of the training labels, as a map; ``a + b`` is that of both sets of labels.

    Its R² elsewhere is ``−n (mean − mean there)² / Σ (truth − mean there)²``: 0 at best, so a model
    with less than that has learned nothing of use.

    Args:
        count: labels.
        total: their sum, Mg C/ha.
    """

    count: int = 0
    total: float = 0.0

    def __add__(self, other: Dummy) -> Dummy:
        return Dummy(self.count + other.count, self.total + other.total)

    @classmethod
    def of(cls, labels: Floats) -> Dummy:
        """What it learns from labels, NaN where unknown."""
        known = labels[np.isfinite(labels)].astype(np.float64)
        return cls(known.size, float(known.sum()))

    @property
    def mean(self) -> float:
        """What it predicts everywhere; NaN without labels."""
        return self.total / self.count if self.count else math.nan

    def errors(self, truth: Floats) -> Errors:
        """Its errors against a tile's truth, NaN where unknown."""
        return errors(np.full(truth.shape, self.mean), truth)

    def to_json(self) -> Json:
        """Labels and their mean, None without labels."""
        return {"labels": self.count, "mean_mg_c_ha": self.mean if self.count else None}
