"""A verdict in figures, as plain values."""

from __future__ import annotations

import numpy as np

from carbonmap.errors import ModelError
from carbonmap.intervals import Coverage, calibrate, coverage, within
from carbonmap.metrics import Errors, errors
from carbonmap.resampling import Sums, block_bootstrap, effective_number, rmse_of
from carbonmap.stages.compare.judge import MEAN_OF, Pixels, Verdict
from carbonmap.types import Bool, Floats, Json

HITS = 1
"""Column of the hits in the sums of a coverage."""


def to_json(verdict: Verdict, scale: float) -> Json:
    """Every figure of a model by name, Mg C/ha and on the 0–1 scale.

    Args:
        verdict: of its maps.
        scale: density that counts as 1, Mg C/ha.
    """
    generative = verdict.whole.members > 1
    facts: Json = {
        "generative": generative,
        "one": verdict.one.to_json(scale),
        "mean": verdict.mean.to_json(scale),
        "mean_of": min(MEAN_OF, verdict.whole.members),
        "rmse_bootstrap": _rmse(verdict.pixels),
        "classes": verdict.classes.to_json()["classes"] if verdict.classes else [],
        "cpu_s": verdict.seconds,
    }
    if generative:
        facts["ensemble"] = verdict.whole.to_json(scale)
        facts["interval"] = interval_facts(verdict.pixels)
    return facts


def _rmse(pixels: Pixels) -> Json | None:
    """RMSE of the mean of all draws with its error by blocks."""
    table = pixels.table
    sums = _sums(pixels, table[:, 4] - table[:, 6])
    try:
        return block_bootstrap(sums, rmse_of).to_json()
    except ModelError:  # too few blocks
        return None


def _sums(pixels: Pixels, error: Floats) -> Sums:
    """By block: pixels, Σ e, Σ |e|, Σ e²."""
    block = pixels.blocks
    columns = [np.bincount(block)]
    columns += [np.bincount(block, v) for v in (error, np.abs(error), error * error)]
    return np.stack(columns, axis=1).astype(np.float64)


def interval_facts(pixels: Pixels) -> Json:
    """How many truths ``mean ± k SD`` holds, k found on one half of the held-out blocks.

    Each half is judged by the k of the other, so that no pixel has helped to find its own bounds.
    """
    halves = pixels.halves
    mean, spread, truth = (pixels.table[:, i] for i in (4, 5, 6))
    low, high = np.full(len(truth), np.nan), np.full(len(truth), np.nan)
    found = []
    try:
        for half in (halves, ~halves):
            k = calibrate(mean[half], spread[half], truth[half])
            found.append(k)
            low[~half], high[~half] = (mean - k * spread)[~half], (mean + k * spread)[~half]
    except ModelError as error:
        return {"k": None, "why": str(error)}
    return {"k": found, **_told(pixels, coverage(low, high, truth), within(low, high, truth))}


def _told(pixels: Pixels, whole: Coverage, hits: Bool) -> Json:
    """A coverage with its error by blocks."""
    block = pixels.blocks
    count, hit = (np.bincount(block, w).astype(np.float64) for w in (np.ones(len(hits)), hits))
    sums = np.stack([count, hit], axis=1)
    facts = whole.to_json() | {"effective_pixels": effective_number(count, hit, hit)}
    try:
        shown = block_bootstrap(sums, lambda s: np.asarray(s[..., HITS] / s[..., 0])).to_json()
    except ModelError:
        shown = None
    return facts | {"bootstrap": shown}


def baseline(mean: float, pixels: Pixels) -> Errors:
    """Errors of the map that has the training labels' mean everywhere."""
    truth = pixels.table[:, 6]
    return errors(np.full(truth.shape, mean), truth)
