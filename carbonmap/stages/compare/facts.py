"""A verdict in figures, as plain values."""

from __future__ import annotations

import math

import numpy as np

from carbonmap.errors import ModelError
from carbonmap.intervals import LEVEL, Coverage, calibrate, coverage, within
from carbonmap.resampling import block_bootstrap, effective_number, error_sums, mean_of, rmse_of
from carbonmap.stages.compare.judge import MEAN_OF, Pixels, Verdict
from carbonmap.types import Bool, Json

RANKED = round((1 + LEVEL) / (1 - LEVEL))
"""Draws from which intervals by rank are told: the outermost two of fewer hold less than `LEVEL`,
so that no map could show what such a figure speaks of."""


def to_json(verdict: Verdict, scale: float) -> Json:
    """Every figure of a model by name, Mg C/ha and on the 0–1 scale.

    Args:
        verdict: of its maps.
        scale: density that counts as 1, Mg C/ha.
    """
    generative = verdict.whole.members > 1
    pixels = verdict.pixels
    facts: Json = {
        "generative": generative,
        "one": _judged(verdict.one.to_json(scale), pixels, "one"),
        "mean": _judged(verdict.mean.to_json(scale), pixels, "few"),
        "mean_of": min(MEAN_OF, verdict.whole.members),
        "classes_mean_of": verdict.whole.members,
        "classes": verdict.by_truth.to_json()["classes"],
        "classes_by_map": verdict.by_map.to_json()["classes"],
    }
    if generative:
        facts["ensemble"] = verdict.whole.to_json(scale)
        if verdict.whole.members < RANKED:
            facts["ensemble"]["coverage_90"] = None
        facts["interval"] = interval_facts(pixels)
    return facts


def _judged(facts: Json, pixels: Pixels, map_: str) -> Json:
    """Errors of a map, with that of its RMSE by blocks; None where these are too few."""
    error = pixels.column(map_) - pixels.column("truth")
    try:
        shown = block_bootstrap(error_sums(pixels.blocks, error), rmse_of).to_json()
    except ModelError:
        shown = None
    return facts | {"rmse_bootstrap": shown}


def interval_facts(pixels: Pixels) -> Json:
    """How many truths an interval of k times the draws' own reach holds; k of one half each.

    Each half is judged by the k of the other, so that no pixel has helped to find its own bounds.
    """
    halves = pixels.halves
    if not halves.any():
        return {"k": None, "why": "one block is held out, and k needs another to be found on"}
    known, truth = pixels.sides, pixels.column("truth")
    reach, k = known.towards(truth), np.full(len(truth), np.nan)
    found = []
    try:
        for half in (halves, ~halves):
            found.append(calibrate(known.mean[half], reach[half], truth[half]))
            k[~half] = found[-1]
    except ModelError as error:
        return {"k": None, "why": str(error)}
    low, high = known.bounds(k)
    return {"k": found, **_told(pixels, coverage(low, high, truth), within(low, high, truth))}


def _told(pixels: Pixels, whole: Coverage, hits: Bool) -> Json:
    """A coverage with its error by blocks, each None where these are too few to tell it."""
    block = pixels.blocks
    count, hit = (np.bincount(block, w).astype(np.float64) for w in (np.ones(len(hits)), hits))
    facts = whole.to_json() | {"effective_pixels": None, "bootstrap": None}
    try:
        number = effective_number(count, hit, hit)
        facts["effective_pixels"] = number if math.isfinite(number) else None
        facts["bootstrap"] = block_bootstrap(np.stack([count, hit], axis=1), mean_of(1)).to_json()
    except ModelError:
        pass
    return facts
