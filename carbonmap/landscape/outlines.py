"""From borders between stands to the polygons that they enclose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from carbonmap.types import Floats, Ints

PIECES = 6
"""Straight pieces per bent edge: of about 40 m in stands of 20 ha, as a surveyor draws them."""


@dataclass(frozen=True)
class Edges:
    """Borders between stands, one array entry each.

    Args:
        left: number of the stand on the left hand on the way from `start` to `end`.
        right: number of the stand on the right hand.
        start: number of the vertex where the border begins; three stands meet there.
        end: number of the vertex where it ends.
        points: the way, vertices included, m, shape ``(border, PIECES + 1, 2)``.
    """

    left: Ints
    right: Ints
    start: Ints
    end: Ints
    points: Floats


def outlines(edges: Edges, stands: Ints) -> NDArray[np.object_]:
    """The polygons of some stands in shapely's normal form, so that equal ones have equal bytes.

    Args:
        edges: every border of the stands, and any others.
        stands: numbers of the stands.

    Returns:
        One polygon per stand; another stand inside is a hole.
    """
    number = np.full(max(edges.left.max(), edges.right.max()) + 1, -1)
    number[stands] = np.arange(stands.size)
    stand = number[np.concatenate([edges.left, edges.right])]
    ahead = stand >= 0
    start = np.concatenate([edges.start, edges.end])[ahead]
    end = np.concatenate([edges.end, edges.start])[ahead]
    path = np.concatenate([edges.points[:, :-1], edges.points[:, :0:-1]])[ahead]
    stand = stand[ahead]
    order, ring = _rings(stand, start, end)
    rings = shapely.linearrings(path[order].reshape(-1, 2), indices=np.repeat(ring, PIECES))
    owner = stand[order][np.flatnonzero(np.diff(ring, prepend=-1))]
    size = shapely.area(shapely.polygons(rings))
    shells_first = np.lexsort((-size, owner))
    polygons = shapely.polygons(rings[shells_first], indices=owner[shells_first])
    return np.asarray(shapely.normalize(polygons))


def _rings(stand: Ints, start: Ints, end: Ints) -> tuple[Ints, Ints]:
    """Directed edges in the order in which they close rings, and the number of each one's ring.

    Three cells meet at a vertex, so a stand leaves each vertex by one edge at most.
    """
    vertices = int(max(start.max(), end.max())) + 1
    leaves, arrives = stand * vertices + start, stand * vertices + end
    by_start = np.argsort(leaves)
    following = by_start[np.searchsorted(leaves, arrives, sorter=by_start)].tolist()
    order: list[int] = []
    ring: list[int] = []
    done = bytearray(len(following))
    rings = 0
    for first in range(len(following)):
        if done[first]:
            continue
        edge = first
        while not done[edge]:
            done[edge] = 1
            order.append(edge)
            ring.append(rings)
            edge = following[edge]
        rings += 1
    return np.array(order), np.array(ring)
