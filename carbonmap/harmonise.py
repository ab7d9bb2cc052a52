"""Scenes brought to one radiometry: a gain and an offset each, from where they overlap.

Two scenes of one place differ by what is left of calibration drifts (a factor) and of path radiance
and haze (an addend), so each scene and band gets both,

    y = g · x + o,

such that scenes agree where they overlap and, together, keep the radiometry that they had: in every
group of scenes that hang together, the mean gain over their area is 1 and the mean offset 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass as settings
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from carbonmap.overlaps import Fit, Link, Samples, find_links
from carbonmap.settings import STRICT
from carbonmap.types import Floats, Ints, Json


@settings(frozen=True, config=STRICT)
class Harmonising:
    """How far scenes may be moved.

    Both spreads are five times what `Fit` believes of an overlap. So along a chain of scenes an
    error fades out within some five of them: a difference δ that every link repeats, as views to
    the side make it, moves the ends of any chain by 10 δ at most, and does not add up.

    Args:
        gain_sd: spread of scenes' gains expected beforehand. Yearly calibrations of one GF-1 WFV
            camera differ by some percent, now and then by ten.
        offset_sd: the same of offsets, reflectance: what is left of path radiance.
        fit: how overlaps are compared.
    """

    gain_sd: Annotated[float, Field(gt=0)] = 0.1
    offset_sd: Annotated[float, Field(gt=0)] = 0.02
    fit: Fit = field(default_factory=Fit)


@dataclass(frozen=True)
class Harmony:
    """Gains and offsets that make scenes agree.

    Args:
        gain: ``(scene, band)``.
        offset: ``(scene, band)``, reflectance.
        group: of scenes that hang together by overlaps, a number each, ``(scene,)``.
        links: the overlaps.
        before: mean difference of each link's scenes, ``(link, band)``, one minus other.
        after: what is left of it.
    """

    gain: Floats
    offset: Floats
    group: Ints
    links: tuple[Link, ...]
    before: Floats
    after: Floats

    def apply(self, number: int, image: Floats) -> Floats:
        """A scene's image ``(band, row, col)`` as the others would have seen it, float32."""
        gain, offset = (v[number].astype(np.float32) for v in (self.gain, self.offset))
        return np.asarray(image * gain[:, None, None] + offset[:, None, None], dtype=np.float32)

    def to_json(self) -> Json:
        """Plain values for a report."""
        return {
            "gain": self.gain.tolist(),
            "offset": self.offset.tolist(),
            "group": self.group.tolist(),
            "links": [
                {
                    "scenes": [link.one, link.other],
                    "pixels": link.pixels,
                    "kept": link.kept,
                    "before": before.tolist(),
                    "after": after.tolist(),
                }
                for link, before, after in zip(self.links, self.before, self.after, strict=True)
            ],
        }


def solve(scenes: Sequence[Samples], how: Harmonising) -> Harmony:
    """Gains and offsets of all scenes at once, by weighted least squares over their overlaps.

    For every pair of scenes ``a, b`` the spread of their common pixels gives the gains' ratio, and
    with the gains known the means give the offsets' difference:

        log g_a − log g_b = log (σ_b / σ_a),   g_a m_a + o_a = g_b m_b + o_b.

    The ratio of spreads (the reduced major axis) treats both scenes alike; a regression of one on
    the other would lower the gain of whichever is noisier. Each equation weighs by its error, and
    beside them stand ``log g = 0`` and ``o = 0`` (at the group's mean reflectance) with
    `Harmonising`'s spreads, which hold chains straight, decide what overlaps leave open, and leave
    a scene without overlaps as it is.

    Args:
        scenes: each with its places in order, as `join` gives them, and all with the same bands.
        how: what is expected.
    """
    bands = scenes[0].values.shape[1] if scenes else 0
    links = tuple(find_links(scenes, how.fit))
    group = _groups(len(scenes), links)
    area = np.array([max(len(s.values), 1) for s in scenes], float)
    mean = np.array([_mean(s.values) for s in scenes]).reshape(len(scenes), bands)
    gain, offset = np.ones_like(mean), np.zeros_like(mean)
    before, after = np.zeros((2, len(links), bands))
    for b in range(bands):
        gain[:, b] = _gains(links, b, group, area, how)
        offset[:, b] = _offsets(links, b, group, area, gain[:, b], mean[:, b], how)
        for i, at in enumerate(links):
            before[i, b] = at.mean_one[b] - at.mean_other[b]
            after[i, b] = gain[at.one, b] * at.mean_one[b] + offset[at.one, b]
            after[i, b] -= gain[at.other, b] * at.mean_other[b] + offset[at.other, b]
    return Harmony(gain, offset, group, links, before, after)


def _gains(links: Sequence[Link], band: int, group: Ints, area: Floats, how: Harmonising) -> Floats:
    """One band's gains, their mean over each group's area 1."""
    told = np.array([np.log(at.ratio[band]) for at in links])
    sd = np.array([at.ratio_sd[band] for at in links])
    ends = _ends(links)
    gain = np.exp(_least_squares(ends, told, sd, how.gain_sd, len(area)))
    return gain / _group_mean(gain, group, area)


def _offsets(
    links: Sequence[Link],
    band: int,
    group: Ints,
    area: Floats,
    gain: Floats,
    mean: Floats,
    how: Harmonising,
) -> Floats:
    """One band's offsets, their mean over each group's area 0.

    What is solved for is how far a scene moves at its group's mean reflectance, so that a gain's
    error is not taken for an offset far away.
    """
    pivot = _group_mean(mean, group, area)
    ends = _ends(links)
    low = np.array([at.mean_one[band] for at in links]).reshape(-1)
    high = np.array([at.mean_other[band] for at in links]).reshape(-1)
    a, b = ends
    told = gain[b] * (high - pivot[b]) - gain[a] * (low - pivot[a])
    sd = np.array([at.offset_sd[band] for at in links])
    moved = _least_squares(ends, told, sd, how.offset_sd, len(area))
    return moved - _group_mean(moved, group, area) + (1 - gain) * pivot


def _least_squares(
    ends: tuple[Ints, Ints], told: Floats, sd: Floats, prior_sd: float, count: int
) -> Floats:
    """The ``v`` that minimises Σ (v_a − v_b − told)² / sd² + Σ v² / prior_sd²."""
    a, b = ends
    weight = 1 / sd**2
    normal = np.eye(count) / prior_sd**2
    right = np.zeros(count)
    np.add.at(normal, (a, a), weight)
    np.add.at(normal, (b, b), weight)
    np.add.at(normal, (a, b), -weight)
    np.add.at(normal, (b, a), -weight)
    np.add.at(right, a, weight * told)
    np.add.at(right, b, -weight * told)
    return np.asarray(np.linalg.solve(normal, right))


def _ends(links: Sequence[Link]) -> tuple[Ints, Ints]:
    one = np.array([at.one for at in links], np.intp)
    return one, np.array([at.other for at in links], np.intp)


def _groups(count: int, links: Sequence[Link]) -> Ints:
    """Which scenes hang together, by a number each."""
    a, b = _ends(links)
    graph = coo_array((np.ones(len(links)), (a, b)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1]) if count else a


def _group_mean(values: Floats, group: Ints, area: Floats) -> Floats:
    """Mean of each scene's group, weighted by area, ``(scene,)``."""
    total = np.bincount(group, weights=area * values) / np.bincount(group, weights=area)
    return np.asarray(total[group])


def _mean(values: Floats) -> Floats:
    return values.mean(axis=0, dtype=np.float64) if len(values) else np.zeros(values.shape[1])
