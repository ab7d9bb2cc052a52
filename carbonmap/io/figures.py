"""Pictures of maps and evaluations; matplotlib's one owner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from carbonmap.io import files
from carbonmap.io.style import RAMP
from carbonmap.types import Raster

CHINESE_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Source Han Sans SC",
    "Microsoft YaHei",
    "SimHei",
    "PingFang SC",
    "WenQuanYi Zen Hei",
    "WenQuanYi Micro Hei",
    "Droid Sans Fallback",
)
"""Fonts that hold Chinese on Linux, Windows and macOS, the most readable first."""

COLOURS = LinearSegmentedColormap.from_list("carbon", list(RAMP)).with_extremes(bad=(0, 0, 0, 0))


def chinese_font() -> str | None:
    """The first installed font that holds Chinese, or None."""
    installed = {f.name for f in font_manager.fontManager.ttflist}
    return next((name for name in CHINESE_FONTS if name in installed), None)


def readable(text: str) -> str:
    """The text, with what no installed font can draw replaced by its code point."""
    if chinese_font() is not None:
        return text
    return "".join(c if ord(c) < 0x2E80 else f"\\u{ord(c):04x}" for c in text)


def _settings() -> Any:
    font = chinese_font()
    family = [font, "DejaVu Sans"] if font else ["DejaVu Sans"]
    return {
        "font.family": ["sans-serif"],
        "font.sans-serif": family,
        "axes.unicode_minus": False,
        "font.size": 9,
    }


NO_DATA = "#e6e9ed"
"""Land without a value."""


def _save(figure: Figure, path: Path) -> None:
    """As PNG without the date of drawing, so that the same map gives the same bytes."""
    with files.partial(path) as partial:
        figure.savefig(partial, dpi=150, format="png", metadata={"Software": "carbonmap"})


def draw_map(
    path: Path,
    values: Raster,
    bounds: tuple[float, float, float, float],
    limits: tuple[float, float],
    title: str,
    label: str,
    crs_name: str,
    rows: Sequence[tuple[str, str]] = (),
) -> None:
    """One map with its colour bar, axes in kilometres, and a small table beside it.

    Args:
        path: PNG to write.
        values: ``(row, col)``, NaN transparent.
        bounds: left, bottom, right, top, m.
        limits: values at the ends of the colours.
        title: may hold Chinese.
        label: what the colours mean, with units.
        crs_name: named on the axes.
        rows: name and value pairs, such as totals by township.
    """
    left, bottom, right, top = (b / 1000 for b in bounds)
    aspect = (top - bottom) / (right - left)
    with mpl.rc_context(_settings()):
        side = 3.2 if rows else 0.0
        figure = Figure(
            figsize=(6.4 + side, max(3.6, min(9.0, 5.2 * aspect + 0.9))), layout="constrained"
        )
        axes = figure.subplots(
            1, 2 if rows else 1, width_ratios=[6.4, side] if rows else None, squeeze=False
        )[0]
        image = axes[0].imshow(
            values,
            extent=(left, right, bottom, top),
            vmin=limits[0],
            vmax=limits[1],
            cmap=COLOURS,
            interpolation="nearest",
        )
        axes[0].set_facecolor(NO_DATA)
        axes[0].set(
            title=readable(title), xlabel=f"easting, km ({crs_name})", ylabel="northing, km"
        )
        axes[0].ticklabel_format(useOffset=False)
        ends = "max" if _reaches_above(values, limits[1]) else "neither"
        figure.colorbar(image, ax=axes[0], label=label, extend=ends, shrink=0.85)
        if rows:
            _table(axes[1], rows)
        _save(figure, path)


def _table(axes: Axes, rows: Sequence[tuple[str, str]]) -> None:
    axes.axis("off")
    table = axes.table(
        [[readable(a), readable(b)] for a, b in rows],
        loc="upper left",
        cellLoc="left",
        colWidths=[0.42, 0.58],
    )
    table.auto_set_font_size(False)
    table.set_fontsize(8)
    for cell in table.get_celld().values():
        cell.set_linewidth(0.3)
        cell.set_height(0.045)


def _reaches_above(values: Raster, limit: float) -> bool:
    """Whether some value lies above the colours."""
    return bool(np.isfinite(values).any()) and float(np.nanmax(values)) > limit


def draw_legend(path: Path, stops: Sequence[tuple[float, str]], title: str) -> None:
    """The colours of a map as QGIS lists them."""
    with mpl.rc_context(_settings()):
        figure = Figure(figsize=(2.3, 0.26 * len(stops) + 0.55))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, 10), ylim=(-0.5, len(stops) + 1.4))
        axes.axis("off")
        axes.text(0.4, len(stops) + 0.5, readable(title), weight="bold", va="center")
        for k, (value, colour) in enumerate(stops):
            axes.add_patch(
                mpl.patches.Rectangle(
                    (0.4, k), 1.6, 0.9, facecolor=colour, edgecolor="#777777", lw=0.4
                )
            )
            axes.text(2.5, k + 0.45, f"{value:g}", va="center")
        _save(figure, path)


def draw_evaluation(
    path: Path,
    estimate: Raster,
    truth: Raster,
    bounds: tuple[float, float, float, float],
    limits: tuple[float, float],
    pairs: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]],
    caption: str,
) -> None:
    """Truth, map and error side by side, and the held-out pixels against each other.

    Args:
        path: PNG to write.
        estimate: the map, Mg C/ha, NaN transparent.
        truth: the labels, same shape.
        bounds: left, bottom, right, top, m.
        limits: Mg C/ha at the ends of the colours.
        pairs: truth and estimate of held-out pixels, each ``(pixel,)``.
        caption: the headline figures.
    """
    left, bottom, right, top = (b / 1000 for b in bounds)
    extent = (left, right, bottom, top)
    with mpl.rc_context(_settings()):
        figure = Figure(
            figsize=(14, max(3.8, min(8.0, 3.1 * (top - bottom) / (right - left) + 1.0))),
            layout="constrained",
        )
        axes = figure.subplots(1, 4)
        spread = 0.5 * (limits[1] - limits[0])
        for panel, values, name in zip(axes, (truth, estimate), ("labels", "map"), strict=False):
            shown = panel.imshow(
                values,
                extent=extent,
                vmin=limits[0],
                vmax=limits[1],
                cmap=COLOURS,
                interpolation="nearest",
            )
            panel.set(title=name, xlabel="easting, km", ylabel="northing, km")
        for panel in axes[:3]:
            panel.set_facecolor(NO_DATA)
            panel.ticklabel_format(useOffset=False)
        above = any(_reaches_above(values, limits[1]) for values in (truth, estimate))
        ends = "max" if above else "neither"
        figure.colorbar(shown, ax=axes[:2], label="Mg C/ha", shrink=0.8, extend=ends)
        error = axes[2].imshow(
            estimate - truth,
            extent=extent,
            vmin=-spread,
            vmax=spread,
            cmap="RdBu",
            interpolation="nearest",
        )
        axes[2].set(title="map − labels", xlabel="easting, km")
        figure.colorbar(error, ax=axes[2], label="Mg C/ha", shrink=0.8, extend="both")
        _scatter(axes[3], pairs)
        figure.suptitle(readable(caption))
        _save(figure, path)


def _scatter(axes: Axes, pairs: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]) -> None:
    """How many held-out pixels have which label and which estimate."""
    most = max([1.0, *(float(np.percentile(p, 99.9)) for p in pairs if p.size)])
    if pairs[0].size:
        axes.hist2d(*pairs, bins=80, range=((0, most),) * 2, norm="log", cmap="viridis")
    axes.axline((0, 0), slope=1, color="#b03030", lw=0.8)
    axes.set(
        title="held-out pixels",
        xlabel="labels, Mg C/ha",
        ylabel="map, Mg C/ha",
        aspect="equal",
        xlim=(0, most),
        ylim=(0, most),
    )
