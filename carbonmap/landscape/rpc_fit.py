"""The rational polynomial model that a product ships, fitted to a camera that is known exactly."""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_triangular

from carbonmap.landscape.camera import Camera
from carbonmap.rpc import TERMS, Rpc
from carbonmap.types import Floats

HEIGHTS_M = (-100.0, 5000.0)
"""Heights over the ellipsoid for which a product's model holds: all of China's land but the highest
peaks, some 5 km of which stand in Tibet."""

NODES = (9, 9, 5)
"""Points of the fit along line, sample and height: 405 for twice 39 unknowns. The terms are cubic,
so more points change nothing but the time."""

MARGIN = 0.02
"""Share of the image by which the fit reaches beyond its edges, where cubics bend away."""

RIDGE = 1e-7
"""Weight that draws coefficients to zero, beside terms of order 1: without it numerator and
denominator share factors that nothing determines; this costs some 1e-4 px."""

ROUNDS = 3
"""Of reweighting by the denominator found before (Tao and Hu 2001); two change the last digits."""


def fit_rpc(camera: Camera, heights_m: tuple[float, float] = HEIGHTS_M) -> Rpc:
    """The camera as 80 coefficients, by least squares over points of the scene's volume.

        minimise  Σ ((P(x) − l Q(x)) / Q⁰(x))² + λ² Σ c²,  Q = 1 + …

    Terrain-independent as in Tao and Hu (2001), with l the normalised line (likewise the sample), x
    the ground, and Q⁰ the denominator of the round before. For full scenes the largest error over
    the volume is below 0.001 px.

    Args:
        camera: the camera.
        heights_m: lowest and highest land for which the model must hold, m over the ellipsoid.
    """
    line, sample, height = _points(camera, heights_m)
    lon, lat = camera.ground(line, sample, height)
    (x, lon_off, lon_scale), (y, lat_off, lat_scale) = _normalised(lon), _normalised(lat)
    z, height_off, height_scale = _normalised(height)
    terms = _monomials(x, y, z)
    line, line_off, line_scale = _normalised(line)
    sample, samp_off, samp_scale = _normalised(sample)
    line_num, line_den = _fit(terms, line)
    samp_num, samp_den = _fit(terms, sample)
    return Rpc(
        line_num, line_den, samp_num, samp_den,
        line_off, samp_off, lat_off, lon_off, height_off,
        line_scale, samp_scale, lat_scale, lon_scale, height_scale,
    )  # fmt: skip


def _points(camera: Camera, heights_m: tuple[float, float]) -> tuple[Floats, Floats, Floats]:
    """Lines, samples and heights of a lattice over the scene, each flat."""
    spans = [
        (-MARGIN * camera.lines, (1 + MARGIN) * camera.lines - 1),
        (-MARGIN * camera.samples, (1 + MARGIN) * camera.samples - 1),
        heights_m,
    ]
    axes = [np.linspace(*span, count) for span, count in zip(spans, NODES, strict=True)]
    line, sample, height = np.meshgrid(*axes, indexing="ij")
    return line.ravel(), sample.ravel(), height.ravel()


def _normalised(values: Floats) -> tuple[Floats, float, float]:
    """Values on −1 … 1, and the offset and scale that bring them back."""
    low, high = float(values.min()), float(values.max())
    offset, scale = (low + high) / 2, (high - low) / 2
    return (values - offset) / scale, offset, scale


def _monomials(x: Floats, y: Floats, z: Floats) -> Floats:
    """Shape ``(point, 20)``, in the RPC00B order: x longitude, y latitude, z height."""
    one = np.ones_like(x)
    columns = [
        one, x, y, z, x * y, x * z, y * z, x * x, y * y, z * z, x * y * z,
        x * x * x, x * y * y, x * z * z, x * x * y, y * y * y, y * z * z, x * x * z, y * y * z,
        z * z * z,
    ]  # fmt: skip
    return np.stack(columns, axis=1)


def _fit(terms: Floats, value: Floats) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Numerator and denominator (its constant is 1) whose ratio is the value."""
    unknown = np.concatenate([terms, -value[:, None] * terms[:, 1:]], axis=1)
    ridge = RIDGE * np.sqrt(len(value)) * np.eye(2 * TERMS - 1)
    target = np.concatenate([value, np.zeros(2 * TERMS - 1)])
    weight = np.ones_like(value)
    for _ in range(ROUNDS):
        target[: value.size] = value * weight
        system = np.concatenate([unknown * weight[:, None], ridge])
        q, r = np.linalg.qr(system)
        solution = solve_triangular(r, q.T @ target)
        denominator = np.concatenate([[1.0], solution[TERMS:]])
        weight = 1 / (terms @ denominator)
    return tuple(map(float, solution[:TERMS])), tuple(map(float, denominator))
