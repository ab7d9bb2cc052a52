"""The trees of the simulated county: where they grow, how much wood, how they look."""

from __future__ import annotations

from dataclasses import dataclass

from carbonmap.types import Floats

BANDS = ("blue", "green", "red", "nir")
"""Bands of the images, as GF-1 WFV has them."""

Spectrum = tuple[float, float, float, float]
"""Reflectance in `BANDS`."""


@dataclass(frozen=True)
class Species:
    """One kind of cover.

    Args:
        name: as inventories write it.
        level: elevation where it does best, as a share of the county's range.
        spread: how far from there it still does well, same unit.
        vigour: its lead over the others where both are at their best.
        patch_m: half the width of its patches.
        most_volume: growing stock of old stands of full closure on an average site, m³ ha⁻¹.
        height_per_root: mean height ÷ √volume, m per √(m³ ha⁻¹).
        leaf: reflectance of its sunlit crowns in full leaf.
        fading: share of that green gone in the dry season (leaf fall, drought).
    """

    name: str
    level: float
    spread: float
    vigour: float
    patch_m: float
    most_volume: float
    height_per_root: float
    leaf: Spectrum
    fading: float

    def fitness(self, level: Floats) -> Floats:
        """Parabola over elevation: `vigour` at its best, one less at `spread` from there."""
        return self.vigour - ((level - self.level) / self.spread) ** 2


SPECIES = (
    Species("云南松", 0.42, 0.28, 0.35, 1400.0, 270.0, 1.15, (0.032, 0.055, 0.042, 0.270), 0.10),
    Species("华山松", 0.60, 0.22, 0.40, 1100.0, 310.0, 1.20, (0.026, 0.044, 0.034, 0.235), 0.06),
    Species("栎类", 0.50, 0.35, 0.15, 1300.0, 240.0, 1.05, (0.030, 0.066, 0.040, 0.360), 0.40),
    Species("桉树", 0.16, 0.20, 0.15, 1200.0, 190.0, 1.45, (0.036, 0.070, 0.046, 0.320), 0.04),
    Species("无", 0.45, 0.60, 0.58, 900.0, 0.0, 0.0, (0.0, 0.0, 0.0, 0.0), 0.0),
)
"""Yunnan pine (about 1,000–3,000 m), Armand pine (higher), oaks (wide, partly leafless in spring),
eucalypts (warm valleys), and open land everywhere, most of it low or above the trees. Volumes and
spectra are of the order that inventories and 16 m images of the plateau show; none is measured."""

TREELESS = len(SPECIES) - 1
"""Number of the cover that is no forest."""
