"""What an ingested scene tells people of itself."""

from __future__ import annotations

from carbonmap.calibration import Calibration
from carbonmap.gf1 import GAP_WARN_M, footprint_gap_m
from carbonmap.io.gf1 import Product
from carbonmap.sun import SUSPECT_DEG
from carbonmap.types import Json

CLOUDS = ("cloud", "thin_cloud", "cloud_shadow")
"""Flags that nobody sets where no cloud was looked for."""

NODATA = ("missing_line", "zero", "saturated")
"""Flags under which the bands hold nothing."""

TERRAIN = {
    "none: off": "light of slopes not corrected, as --terrain none asks",
    "none: no DEM": "light of slopes not corrected for want of a DEM",
    "none: few slopes above 10°": "light of slopes not corrected, since few are above 10°",
    "c": "light of slopes corrected by the C-correction",
    "scs+c": "light of slopes corrected by SCS+C",
}
"""By what the report calls it."""


def notes(
    product: Product,
    calibration: Calibration,
    sun_off_deg: float,
    air: tuple[str, ...],
    registration: Json | None,
) -> list[str]:
    """What the user should know, a sentence each."""
    found = [*product.scene.notes, *calibration.notes, *air]
    gap = footprint_gap_m(product.rpc, product.scene, 0.0)
    if gap > GAP_WARN_M:
        found.append(
            f"the corners by the RPB lie up to {gap:,.0f} m from those of the XML; some products' "
            f"corners are off by more than a kilometre, so compare the scene with a map"
        )
    if sun_off_deg > SUSPECT_DEG:
        found.append(
            f"the XML's sun stands {sun_off_deg:.1f}° from where it was at that time; the XML's "
            f"angles were used"
        )
    if registration and "note" in registration:
        found.append(registration["note"])
    return found


def text(name: str, report: Json) -> str:
    """The report for people.

    Args:
        name: of the scene.
        report: as the scene's mark has it.
    """
    terrain = TERRAIN.get(report["terrain"], report["terrain"])
    lines = [
        *_pixels(name, report),
        f"{_air(report)}; {terrain}; heights: {report['heights']}",
    ]
    if lost := report["lost_lines"]:
        lines.append(f"{lost:,} of {report['lines']:,} lines {'are' if lost > 1 else 'is'} lost")
    if (found := report["registration"]) and "move_east_m" in found:
        done = "moved" if found["aligned"] else "would fit when moved"
        lines.append(
            f"{done} {found['move_east_m']:+.1f} m east, {found['move_north_m']:+.1f} m north "
            f"({found['patches']} patches)"
        )
    return "\n  ".join([*lines, *report["notes"]])


def _pixels(name: str, report: Json) -> list[str]:
    """Shares of pixels: clear and flagged ones add up, and flags overlap."""
    pixels = report["pixels"]
    seen = pixels["grid"] - pixels["outside"]
    clear = pixels["clear"] / seen
    none = report["clouds"] == "none"
    flags = ("terrain_shadow",) if none else (*CLOUDS, "terrain_shadow")
    shares = [f"{flag.replace('_', ' ')} {pixels[flag] / seen:.1%}" for flag in flags]
    lost = [f"{f.replace('_', ' ')} {pixels[f]:,} px" for f in NODATA if pixels[f]]
    told = f"flags, of which a pixel may have several: {', '.join(shares)}"
    lines = [
        f"{name}: {seen:,} px of the region, {clear:.1%} clear and {1 - clear:.1%} flagged",
        told + "; clouds were not looked for" * none,
    ]
    return [*lines, f"nodata among the flagged: {', '.join(lost)}"] if lost else lines


def _air(report: Json) -> str:
    """What the values are and how the air was taken off."""
    what: str = report["scene"]["long_name"]
    match report["atmosphere"]:
        case "6s":
            return f"{what} by 6S with AOD {report['aod_550']:.2f} {report['aod_source']}"
        case "dos":
            return f"{what} by dark-object subtraction"
    return what
