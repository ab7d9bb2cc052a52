"""Sun and satellite as every pixel of a scene sees them, in directions of the grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from carbonmap import crs as crs_
from carbonmap.cloudshadow import Direction
from carbonmap.gf1 import Scene
from carbonmap.grid import Grid
from carbonmap.rpc import Rpc
from carbonmap.sixs import Geometry
from carbonmap.sun import sun_field
from carbonmap.types import Floats, Raster

NODE_PX = 512
"""Spacing of nodes, 8 km, between which directions are linear to a thousandth of a degree."""

PLACES = 9
"""Across the swath, between which a camera's view is linear: 2° of view zenith each."""

PLANE_PLACES = 16
"""Places along the shorter side of a scene through which the plane of its view is laid."""

RISE_M = 1000.0
"""Height by which a pixel's ray is followed."""

NORTH_DEG = 1e-3
"""Of latitude, along which true north is found on the grid."""


@dataclass(frozen=True)
class Sky:
    """Directions over a scene.

    Args:
        grid: the scene's.
        sun_zenith: radians, at the nodes.
        sun_east: component of the sun's azimuth along grid east, at the nodes.
        sun_north: along grid north.
        across: place across the swath, 0 at the first sample and ``PLACES − 1`` at the last.
        view_zenith: radians, by place across the swath, ``(PLACES,)``.
        view_azimuth: radians clockwise from grid north, from the ground to the satellite, likewise.
        true_north: azimuth of true north from grid north, radians, on the mean of the scene.
        disagreement_deg: between the sun of the product and the computed one, at the centre.
    """

    grid: Grid
    sun_zenith: Floats
    sun_east: Floats
    sun_north: Floats
    across: Floats
    view_zenith: Floats
    view_azimuth: Floats
    true_north: float
    disagreement_deg: float

    def sun_at(self, part: Grid, step: int = 1) -> tuple[Raster, Raster]:
        """Zenith and azimuth from grid north of the sun over a part, radians, float32.

        Args:
            part: any part of the scene's lattice.
            step: every how many pixels; 4 gives the middles of 4 × 4 pixels.
        """
        zenith = self._at(self.sun_zenith, part, step)
        east, north = (self._at(v, part, step) for v in (self.sun_east, self.sun_north))
        return zenith, np.arctan2(east, north)

    def across_at(self, part: Grid, step: int = 1) -> Raster:
        """Place across the swath over a part, as `sun_at`; beyond the swath its sides hold."""
        return self._at(self.across, part, step).clip(0, PLACES - 1)

    def view_at(self, part: Grid, step: int = 1) -> Direction:
        """The satellite over a part, as `sun_at`."""
        place = self.across_at(part, step)
        at = np.arange(PLACES)
        flat = np.tan(self.view_zenith)
        east = np.interp(place, at, flat * np.sin(self.view_azimuth))
        north = np.interp(place, at, flat * np.cos(self.view_azimuth))
        return Direction(np.arctan(np.hypot(east, north)), np.arctan2(east, north))

    def view_plane(self) -> tuple[float, float, tuple[float, float]]:
        """The satellite in words that fit a scene's mark.

        Returns:
            Zenith in the grid's middle, degrees; azimuth in the swath's, degrees from true north;
            and by how much the zenith grows from row to row and from column to column, by a plane
            through the swath.
        """
        step = max(1, min(self.grid.shape) // PLANE_PLACES)
        view, place = self.view_at(self.grid, step), self.across_at(self.grid, step)
        inside = (place > 0) & (place < PLACES - 1)
        if inside.sum() < PLANE_PLACES:
            inside = np.ones_like(inside)
        off = [
            (np.arange(n) + 0.5) * step - size / 2
            for n, size in zip(place.shape, self.grid.shape, strict=True)
        ]
        rows, cols = np.meshgrid(*off, indexing="ij")
        terms = np.stack([np.ones_like(rows), rows, cols], axis=-1)
        zenith = np.degrees(np.asarray(view.zenith))
        fit = np.linalg.lstsq(terms[inside], zenith[inside], rcond=None)[0]
        azimuth = math.degrees(float(self.view_azimuth[PLACES // 2]) - self.true_north) % 360
        return max(float(fit[0]), 0.0), azimuth, (float(fit[1]), float(fit[2]))

    @property
    def sun_mean(self) -> tuple[float, float]:
        """Zenith and azimuth from grid north in the scene's middle, radians."""
        east, north = float(self.sun_east.mean()), float(self.sun_north.mean())
        return float(self.sun_zenith.mean()), math.atan2(east, north) % (2 * math.pi)

    def geometries(self) -> list[Geometry]:
        """Sun and view by place across the swath, for the air's table."""
        zenith, azimuth = self.sun_mean
        return [
            Geometry(zenith, float(v), azimuth - float(a))
            for v, a in zip(self.view_zenith, self.view_azimuth, strict=True)
        ]

    def _at(self, nodes: Floats, part: Grid, step: int) -> Raster:
        rows = _weights(part.row - self.grid.row, part.height, step, nodes.shape[0])
        cols = _weights(part.col - self.grid.col, part.width, step, nodes.shape[1])
        return np.asarray((rows @ nodes @ cols.T).astype(np.float32))


def _weights(first: int, count: int, step: int, nodes: int) -> Floats:
    """Weights of the nodes for pixel centres, ``(place, node)``; past the ends they go on."""
    at = (first + (np.arange(-(-count // step)) + 0.5) * step) / NODE_PX
    left = np.clip(np.floor(at).astype(int), 0, nodes - 2)
    weights = np.zeros((at.size, nodes))
    places = np.arange(at.size)
    weights[places, left] = 1 - (at - left)
    weights[places, left + 1] = at - left
    return weights


def sky_of(scene: Scene, rpc: Rpc, grid: Grid, height: float) -> Sky:
    """The directions over a scene.

    Args:
        scene: its metadata.
        rpc: its camera, whose rays tell where the satellite stands.
        grid: the scene's part of the region.
        height: of the land, m over the ellipsoid, one number: the view changes by a thousandth of
            a degree over a kilometre of it.
    """
    left, _, _, top = grid.bounds
    rows, cols = (n // NODE_PX + 2 for n in grid.shape)
    x, y = np.meshgrid(
        left + np.arange(cols) * NODE_PX * grid.pixel_m,
        top - np.arange(rows) * NODE_PX * grid.pixel_m,
    )
    lon, lat = (
        v.reshape(x.shape)
        for v in crs_.transform_points(grid.crs, "EPSG:4326", x.ravel(), y.ravel())
    )
    stated = (math.radians(scene.sun_zenith_deg), math.radians(scene.sun_azimuth_deg))
    sun = sun_field(stated, scene.acquired, scene.centre, lon, lat)
    north = _true_north(grid, lon, lat)
    azimuth = sun.azimuth + north
    _, sample = rpc.project(lon, lat, np.float64(height))
    zenith, view_azimuth = _view(scene, rpc, grid, height)
    return Sky(
        grid,
        np.asarray(sun.zenith),
        np.sin(azimuth),
        np.cos(azimuth),
        sample / (scene.width - 1) * (PLACES - 1),
        zenith,
        view_azimuth,
        float(north.mean()),
        sun.disagreement_deg,
    )


def _true_north(grid: Grid, lon: Floats, lat: Floats) -> Floats:
    """Azimuth of true north from grid north, radians, at places of the grid."""
    ends = [
        crs_.transform_points("EPSG:4326", grid.crs, lon.ravel(), (lat + d).ravel())
        for d in (-NORTH_DEG, NORTH_DEG)
    ]
    east, north = (after - before for before, after in zip(*ends, strict=True))
    return np.asarray(np.arctan2(east, north).reshape(lon.shape))


def _view(scene: Scene, rpc: Rpc, grid: Grid, height: float) -> tuple[Floats, Floats]:
    """Zenith and grid azimuth of the satellite by place across the swath.

    A pixel's ray meets the ground further towards the satellite the higher the ground is.
    """
    line = np.full(PLACES, (scene.height - 1) / 2)
    sample = np.linspace(0, scene.width - 1, PLACES)
    ends = []
    for level in (height, height + RISE_M):
        lon, lat = rpc.ground(line, sample, np.full(PLACES, level))
        ends.append(crs_.transform_points("EPSG:4326", grid.crs, lon, lat))
    east, north = (after - before for before, after in zip(*ends, strict=True))
    return np.asarray(np.arctan(np.hypot(east, north) / RISE_M)), np.arctan2(east, north)
