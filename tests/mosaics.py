"""Overlapping scenes of one known land, each seen with a gain and an offset of its own."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from carbonmap import overlaps
from carbonmap.composite import Candidate, Composite, Preference, compose
from carbonmap.quality import Quality

BANDS = 2


@dataclass(frozen=True)
class Scenes:
    """Scenes on one region's pixels.

    Args:
        truth: ``(band, row, col)``.
        images: of each scene, NaN outside it.
        qualities: of each scene.
        gain: that brings a scene to the truth, ``(scene, band)``.
        offset: the same.
    """

    truth: np.ndarray
    images: list
    qualities: list
    gain: np.ndarray
    offset: np.ndarray

    def samples(self, step=2):
        return [
            overlaps.sample(i, q, 0, 0, step)
            for i, q in zip(self.images, self.qualities, strict=True)
        ]


def land(rng, shape):
    """Reflectance with fields and hills: texture at two scales, shared by the bands in part."""
    smooth = ndimage.gaussian_filter(rng.normal(size=shape), 12)
    bands = []
    for number in range(BANDS):
        fine = ndimage.gaussian_filter(rng.normal(size=shape), 2)
        bands.append(0.1 + 0.1 * number + 0.03 * smooth / smooth.std() + 0.02 * fine / fine.std())
    return np.array(bands)


def layout(rows, cols, seed, size=120, step=88, noise=0.004):
    """Scenes in rows and columns; each overlaps its neighbours by ``size − step`` pixels."""
    rng = np.random.default_rng(seed)
    truth = land(rng, (step * (rows - 1) + size, step * (cols - 1) + size))
    count = rows * cols
    gain, offset = rng.normal(1, 0.08, (count, BANDS)), rng.normal(0, 0.015, (count, BANDS))
    images, qualities = [], []
    for number in range(count):
        r, c = (step * k for k in divmod(number, cols))
        roi = slice(r, r + size), slice(c, c + size)
        image = np.full(truth.shape, np.nan, np.float32)
        seen = truth[:, *roi] + rng.normal(0, noise, (BANDS, size, size))
        image[:, *roi] = (seen - offset[number, :, None, None]) / gain[number, :, None, None]
        quality = np.full(truth.shape[1:], Quality.OUTSIDE, np.uint8)
        quality[roi] = 0
        images.append(image)
        qualities.append(quality)
    return Scenes(truth, images, qualities, gain, offset)


def clouded(image, rng, share, edge=8):
    """A tenth of a scene, or another share, changed or under clouds that nobody flagged."""
    rows, cols = (-(-n // edge) for n in image.shape[1:])
    patches = np.kron(rng.random((rows, cols)) < share, np.ones((edge, edge), bool))
    brighter = image + rng.uniform(0.05, 0.4)
    return np.where(patches[: image.shape[1], : image.shape[2]], brighter, image)


def composed(images, qualities) -> Composite:
    """All of the region as one tile."""
    preference = Preference(edge_px=16)
    candidates = [
        Candidate(n, i, np.pad(q, preference.halo), 0.0, 0.0)
        for n, (i, q) in enumerate(zip(images, qualities, strict=True))
    ]
    return compose(candidates, BANDS, qualities[0].shape, preference)
