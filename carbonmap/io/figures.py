"""Pictures of maps and evaluations; matplotlib's one owner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from carbonmap.io import files
from carbonmap.io.style import CHANGE_RAMP, RAMP
from carbonmap.types import Bool, Raster

CHINESE_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "Microsoft YaHei", "SimHei",
    "PingFang SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback",
)  # fmt: skip
"""Fonts that hold Chinese on Linux, Windows and macOS, the most readable first."""

COLOURS, CHANGE = (
    LinearSegmentedColormap.from_list(name, list(ramp)).with_extremes(bad=(0, 0, 0, 0))
    for name, ramp in (("carbon", RAMP), ("change", CHANGE_RAMP))
)


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
        limits: values at the ends of the colours, which are those of change from below 0 on.
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
        change = limits[0] < 0
        colours = CHANGE if change else COLOURS
        image = _shown(axes[0], values, (left, right, bottom, top), limits, colours)
        axes[0].set(
            title=readable(title), xlabel=f"easting, km ({crs_name})", ylabel="northing, km"
        )
        above = _reaches_above(values, limits[1])
        ends = "both" if change else "max" if above else "neither"
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
            shown = _shown(panel, values, extent, limits)
            panel.set(title=name, xlabel="easting, km", ylabel="northing, km")
        above = any(_reaches_above(values, limits[1]) for values in (truth, estimate))
        ends = "max" if above else "neither"
        figure.colorbar(shown, ax=axes[:2], label="Mg C/ha", shrink=0.8, extend=ends)
        error = _shown(axes[2], estimate - truth, extent, (-spread, spread), "RdBu")
        axes[2].set(title="map − labels", xlabel="easting, km")
        figure.colorbar(error, ax=axes[2], label="Mg C/ha", shrink=0.8, extend="both")
        _scatter(axes[3], pairs)
        figure.suptitle(readable(caption))
        _save(figure, path)


def draw_comparison(
    path: Path,
    panels: Sequence[tuple[str, Raster]],
    bounds: tuple[float, float, float, float],
    limits: tuple[float, float],
    caption: str,
    held: Bool,
) -> None:
    """Maps of one place side by side, in one range of colours.

    Args:
        path: PNG to write.
        panels: names and maps, Mg C/ha, NaN grey; all of one shape.
        bounds: left, bottom, right, top, m.
        limits: Mg C/ha at the ends of the colours.
        caption: of the whole.
        held: pixels that are outlined in every map, of the same shape.
    """
    left, bottom, right, top = (b / 1000 for b in bounds)
    cols = min(4, len(panels))
    rows = -(-len(panels) // cols)
    with mpl.rc_context(_settings()):
        figure = Figure(figsize=(3.3 * cols + 1.0, 3.4 * rows + 0.8), layout="constrained")
        axes = figure.subplots(rows, cols, squeeze=False, sharex=True, sharey=True)
        for panel, (name, values) in zip(axes.flat, panels, strict=False):
            shown = _shown(panel, values, (left, right, bottom, top), limits)
            _outlined(panel, held, (left, right, bottom, top))
            panel.set_title(readable(name), fontsize=9)
        for panel in axes.flat[len(panels) :]:
            panel.axis("off")
        figure.supxlabel("easting, km")
        figure.supylabel("northing, km")
        above = any(_reaches_above(values, limits[1]) for _, values in panels)
        figure.colorbar(
            shown, ax=axes, label="Mg C/ha", shrink=0.8, extend="max" if above else "neither"
        )
        figure.suptitle(readable(caption))
        _save(figure, path)


def _shown(
    axes: Axes,
    values: Raster,
    extent: tuple[float, float, float, float],
    limits: tuple[float, float],
    colours: Any = COLOURS,
) -> AxesImage:
    """A map on its axes, land without a value in grey."""
    axes.set_facecolor(NO_DATA)
    low, high = limits
    image = axes.imshow(
        values, extent=extent, vmin=low, vmax=high, cmap=colours, interpolation="nearest"
    )
    axes.ticklabel_format(useOffset=False)
    return image


def _outlined(axes: Axes, held: Bool, extent: tuple[float, float, float, float]) -> None:
    """Lines around pixels, none where there are none."""
    if held.any():
        padded = np.pad(held, 1).astype(np.float32)  # so that lines close at the map's rim
        left, right, bottom, top = extent
        dx, dy = (right - left) / held.shape[1], (top - bottom) / held.shape[0]
        axes.contour(
            np.linspace(left - dx / 2, right + dx / 2, padded.shape[1]),
            np.linspace(top + dy / 2, bottom - dy / 2, padded.shape[0]),
            padded,
            levels=[0.5],
            colors="#b03030",
            linewidths=0.7,
        )
        axes.set(xlim=(left, right), ylim=(bottom, top))


class Explained(NamedTuple):
    """How much of a layer's variance its strongest directions hold.

    Args:
        name: of the layer.
        whole: share by the first c directions of one basis for all images, c = 1, 2, …
        apart: likewise where each image has its own basis (IIDM, eq. 14).
        wanted: fewest directions of the one basis that exceed the share asked for.
        kept: channels that the layer got.
    """

    name: str
    whole: Sequence[float]
    apart: Sequence[float]
    wanted: int
    kept: int


def draw_explained_variance(
    path: Path, layers: Sequence[Explained], variance: float, caption: str
) -> None:
    """A panel a layer: variance by each direction and by all up to it (IIDM, figures 5 and A1).

    Args:
        path: PNG to write.
        layers: in the order in which they run.
        variance: share asked for.
        caption: of the whole.
    """
    cols = min(6, len(layers))
    rows = -(-len(layers) // cols)
    with mpl.rc_context(_settings()):
        figure = Figure(figsize=(2.2 * cols + 0.6, 1.7 * rows + 1.2), layout="constrained")
        axes = figure.subplots(rows, cols, squeeze=False, sharey=True)
        for panel, layer in zip(axes.flat, layers, strict=False):
            _explained(panel, layer, variance)
        for panel in axes.flat[len(layers) :]:
            panel.axis("off")
        figure.legend(
            *axes.flat[0].get_legend_handles_labels(), loc="outside lower center", ncols=3
        )
        for panel in axes.flat[max(0, len(layers) - cols) : len(layers)]:
            panel.set_xlabel("directions")
        figure.supylabel("share of the variance")
        figure.suptitle(readable(caption))
        _save(figure, path)


def _explained(axes: Axes, layer: Explained, variance: float) -> None:
    """One layer; its first directions, where all happens, have most of the room."""
    count = np.arange(1, len(layer.whole) + 1)
    axes.fill_between(
        count, np.diff(layer.whole, prepend=0), step="mid", color="#c9d6df", label="each direction"
    )
    axes.plot(count, layer.whole, lw=1.2, color="#1f5a7a", label="all up to it")
    axes.plot(
        count, layer.apart, "--", lw=0.8, color="#b07030", label="each image by its own (eq. 14)"
    )
    axes.axhline(variance, color="#777777", lw=0.6, label=f"{100 * variance:g} % asked for")
    axes.axvline(layer.wanted, color="#b03030", lw=0.8, label="fewest channels for it")
    axes.axvline(layer.kept, color="#b03030", lw=0.8, ls=":", label="channels kept")
    axes.set_xscale("log", base=2)
    axes.set(xlim=(1, max(2, len(count))), ylim=(0, 1.02))
    axes.set_title(f"{layer.name}: {len(count)} → {layer.kept}", fontsize=8)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")


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
