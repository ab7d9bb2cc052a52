"""Parts of a report's page that several of its sections have."""

from __future__ import annotations

import base64
from pathlib import Path

from carbonmap.crs import parse
from carbonmap.io import figures
from carbonmap.types import Json, Raster


def picture(
    drawn: Path,
    values: Raster,
    bounds: tuple[float, float, float, float],
    crs: str,
    limits: tuple[float, float],
    title: str,
) -> Json:
    """A map as the page holds it.

    Args:
        drawn: PNG to write meanwhile.
        values: Mg C/ha, NaN where unknown.
        bounds: left, bottom, right, top, m.
        crs: of the map.
        limits: ends of the colours.
        title: of the picture.
    """
    figures.draw_map(drawn, values, bounds, limits, title, "Mg C/ha", parse(crs).name)
    return {"title": title, "data": base64.b64encode(drawn.read_bytes()).decode()}


def carbon(own: Json, form: str = ",.0f") -> Json:
    """A total, or a change, and its interval as text."""
    return {
        "t_c": f"{own['t_c']:{form}}",
        "interval": f"{own['low_95_t_c']:{form}} to {own['high_95_t_c']:{form}}",
        "t_co2": f"{own['t_co2']:{form}}",
    }
