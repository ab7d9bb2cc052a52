"""Spatially blocked validation: which stands a model learns from, and which it never sees."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import IntEnum
from typing import Annotated

import numpy as np
import shapely
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from carbonmap.errors import ModelError
from carbonmap.settings import STRICT
from carbonmap.types import Bool, Ints, Plots


class Role(IntEnum):
    """What a stand, and every pixel of it, is used for."""

    OUTSIDE = 0
    TRAIN = 1
    VALIDATION = 2
    BUFFER = 3
    REFERENCE = 4


@dataclass(frozen=True, config=STRICT)
class SplitSpec:
    """How stands are parted.

    Args:
        block_m: edge of a square block, m; several stands wide, so that most of a block's stands
            have neighbours of their own role.
        validation_share: share of the stands' area that is held out.
        buffer_m: a training stand nearer than this to a held-out one is used for neither, since
            neighbours resemble each other.
        seed: which blocks are held out.
        reference_share: share of the stands, drawn one by one at random, that neither training nor
            calibration sees: the sample by which totals are corrected (`totals`).
    """

    block_m: Annotated[float, Field(gt=0)] = 3000.0
    validation_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    buffer_m: Annotated[float, Field(ge=0)] = 150.0
    seed: int = 0
    reference_share: Annotated[float, Field(ge=0, lt=1)] = 0.0


def assign_roles(
    stands: Sequence[shapely.Geometry | None] | NDArray[np.object_],
    spec: SplitSpec,
    anchor: tuple[float, float] = (0.0, 0.0),
) -> Ints:
    """The role of every stand; none straddles two.

    A stand belongs to the block that holds its representative point. Blocks are held out in the
    order of a hash of seed and block number, until the area held out is as near as it gets to the
    share asked for; so a block's turn depends on its place on the map, never on the order of the
    stands. Blocked as Roberts et al. (2017, Ecography 40, 913) ask of data that resemble their
    neighbours. The reference stands are those first by a hash of their own places: a simple random
    sample without replacement, wherever they lie.

    Args:
        stands: polygons, m; None or empty ones get `Role.OUTSIDE`.
        spec: sizes, m, and the shares.
        anchor: easting and northing, m, of a corner of the lattice of blocks.

    Returns:
        `Role` codes, uint8, shape ``(stand,)``.

    Raises:
        ModelError: all stands lie in one block, or the buffer leaves none to train on.
    """
    shapes = np.asarray(stands, dtype=object)
    known = _known(shapes)
    roles = np.full(shapes.shape, Role.OUTSIDE, np.uint8)
    if known.any():
        roles[known] = _roles(shapes[known], spec, anchor)
    return roles


def assign_blocks(
    stands: Sequence[shapely.Geometry | None] | NDArray[np.object_],
    spec: SplitSpec,
    anchor: tuple[float, float] = (0.0, 0.0),
) -> Ints:
    """The block that every stand belongs to, with which `assign_roles` holds it out or does not.

    Args:
        stands: polygons, m; None or empty ones belong to no block.
        spec: sizes, m.
        anchor: as for `assign_roles`.

    Returns:
        Numbers from 0, row by row over the occupied blocks, −1 for none, shape ``(stand,)``.
    """
    shapes = np.asarray(stands, dtype=object)
    known = _known(shapes)
    found = np.full(shapes.shape, -1, np.int64)
    if known.any():
        _, found[known] = _blocks(shapes[known], spec, anchor)
    return found


def _known(shapes: NDArray[np.object_]) -> Bool:
    return np.asarray(~(shapely.is_missing(shapes) | shapely.is_empty(shapes)))


def _roles(shapes: NDArray[np.object_], spec: SplitSpec, anchor: tuple[float, float]) -> Ints:
    blocks, block = _blocks(shapes, spec, anchor)
    held = _held_out(blocks, np.bincount(block, shapely.area(shapes)).astype(np.float64), spec)
    roles = np.where(held[block], Role.VALIDATION, Role.TRAIN).astype(np.uint8)
    roles[_near_validation(shapes, roles, spec.buffer_m)] = Role.BUFFER
    roles[_reference(shapes, spec)] = Role.REFERENCE
    if not (roles == Role.TRAIN).any():
        raise ModelError(
            f"every training stand lies within buffer_m = {spec.buffer_m:g} m of a held-out one, "
            f"or is kept aside; lower buffer_m or reference_share, or raise block_m = "
            f"{spec.block_m:g} m"
        )
    return roles


def _blocks(
    shapes: NDArray[np.object_], spec: SplitSpec, anchor: tuple[float, float]
) -> tuple[Ints, Ints]:
    """The occupied blocks' numbers, ``(block, 2)``, and the index of every stand's block."""
    points = shapely.point_on_surface(shapes)
    place = np.stack([anchor[1] - shapely.get_y(points), shapely.get_x(points) - anchor[0]], axis=1)
    blocks, block = np.unique(
        np.floor(place / spec.block_m).astype(np.int64), axis=0, return_inverse=True
    )
    return blocks, block.reshape(-1)


def _held_out(blocks: Ints, area: Plots, spec: SplitSpec) -> Bool:
    """Which blocks are held out: those first in hash order, to the share of area nearest by."""
    if len(blocks) < 2:
        raise ModelError(
            f"all stands lie in one block of block_m = {spec.block_m:g} m, so none can be held "
            f"out; lower block_m below the extent of the stands"
        )
    order = np.argsort([_hash(spec.seed, row, col) for row, col in blocks.tolist()])
    share = np.cumsum(area[order])[:-1] / area.sum()
    count = 1 + int(np.argmin(np.abs(share - spec.validation_share)))
    held = np.zeros(len(blocks), bool)
    held[order[:count]] = True
    return held


def _reference(shapes: NDArray[np.object_], spec: SplitSpec) -> Ints:
    """Indices of the stands kept aside, by a hash of seed and place, to the millimetre."""
    points = shapely.point_on_surface(shapes)
    places = np.rint(1000 * shapely.get_coordinates(points)).astype(np.int64).tolist()
    order = np.argsort([_hash("reference", spec.seed, x, y) for x, y in places])
    return np.asarray(order[: round(spec.reference_share * len(shapes))])


def _hash(*parts: str | int) -> int:
    """64 bits that look random, the same on every machine."""
    text = ":".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def _near_validation(shapes: NDArray[np.object_], roles: Ints, buffer_m: float) -> Ints:
    """Indices of training stands nearer than the buffer to a held-out one."""
    train = np.flatnonzero(roles == Role.TRAIN)
    held = shapes[roles == Role.VALIDATION]
    if buffer_m == 0:
        return train[:0]
    stand, other = shapely.STRtree(held).query(shapes[train], "dwithin", buffer_m)
    near = shapely.distance(shapes[train[stand]], held[other]) < buffer_m
    return np.asarray(train[np.unique(stand[near])])
