"""One colour table for maps, QGIS styles and figures."""

from __future__ import annotations

from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np

from carbonmap.io import files

RAMP = (
    (0.0, "#f7f4e9"),
    (0.05, "#e8e2b5"),
    (0.125, "#c9d98b"),
    (0.25, "#9bc76a"),
    (0.375, "#66b05a"),
    (0.5, "#359a52"),
    (0.625, "#14824a"),
    (0.75, "#066740"),
    (0.875, "#024c34"),
    (1.0, "#002e25"),
)
"""Bare land to dense forest: lightness falls evenly, so it reads in grey and to the
colour-blind."""

MASK_COLOURS = ((0, (233, 226, 208, 255)), (255, (31, 120, 66, 255)))
"""Non-forest sand, forest green."""

CHANGE_RAMP = (
    (0.0, "#7f3b08"),
    (0.15, "#b35806"),
    (0.3, "#e08214"),
    (0.42, "#fdd8a8"),
    (0.5, "#f7f7f7"),
    (0.58, "#b8e1d6"),
    (0.7, "#35978f"),
    (0.85, "#01665e"),
    (1.0, "#003c30"),
)
"""Loss brown, gain blue-green, none white: told apart by the colour-blind too."""

CHANGE_COLOURS = ((0, (247, 247, 247, 255)), (1, (179, 88, 6, 255)), (2, (1, 102, 94, 255)))
"""No significant change, loss, gain."""


def ramp(low: float) -> tuple[tuple[float, str], ...]:
    """Of densities, or, where the range begins below 0, of change."""
    return CHANGE_RAMP if low < 0 else RAMP


def stops(low: float, high: float) -> list[tuple[float, str]]:
    """The ramp's values, in the map's units, and colours."""
    return [(low + share * (high - low), colour) for share, colour in ramp(low)]


def qml_text(low: float, high: float, units: str) -> str:
    """A QGIS style: single-band pseudocolour, linear, one fixed range for every date and place."""
    items = "\n".join(
        f'          <item alpha="255" value="{value:g}" color="{colour}" '
        f"label={quoteattr(f'{value:g} {units}')}/>"
        for value, colour in stops(low, high)
    )
    return f"""<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.34.0" styleCategories="Symbology" hasScaleBasedVisibilityFlag="0">
  <pipe>
    <rasterrenderer type="singlebandpseudocolor" band="1" opacity="1" alphaBand="-1"
        classificationMin="{low:g}" classificationMax="{high:g}" nodataColor="">
      <rasterTransparency/>
      <minMaxOrigin>
        <limits>None</limits>
        <extent>WholeRaster</extent>
        <statAccuracy>Estimated</statAccuracy>
      </minMaxOrigin>
      <rastershader>
        <colorrampshader colorRampType="INTERPOLATED" classificationMode="1" clip="0"
            minimumValue="{low:g}" maximumValue="{high:g}">
{items}
        </colorrampshader>
      </rastershader>
    </rasterrenderer>
    <brightnesscontrast brightness="0" contrast="0"/>
    <huesaturation saturation="0"/>
    <rasterresampler/>
  </pipe>
  <blendMode>0</blendMode>
</qgis>
"""


def write_qml(map_path: Path, low: float, high: float, units: str) -> Path:
    """The style beside a map, where QGIS finds it by itself: ``name.qml`` for ``name.tif``."""
    path = map_path.with_suffix(".qml")
    files.write_text(path, qml_text(low, high, units))
    return path


def rgba(
    values: np.ndarray[tuple[int, int], np.dtype[np.floating]], low: float, high: float
) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    """Colours of a map's values as QGIS draws them, ``(row, col, 4)``; nodata is transparent."""
    used = ramp(low)
    at = [share for share, _ in used]
    parts = [[int(c[k : k + 2], 16) for _, c in used] for k in (1, 3, 5)]
    share = np.clip((np.nan_to_num(values, nan=low) - low) / (high - low), 0, 1)
    channels = [np.interp(share, at, part) for part in parts]
    alpha = np.where(np.isfinite(values), 255, 0)
    return np.stack([*channels, alpha], axis=-1).round().astype(np.uint8)
