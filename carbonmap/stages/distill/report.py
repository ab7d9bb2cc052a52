"""What a distillation tells: channels, parameters, time and error before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from carbonmap.distill.channels import Choice
from carbonmap.stages.distill.settings import Distillation
from carbonmap.types import Json

NAMES = {"vgg": "VGG", "unet": "U-Net", "all": "whole network"}
"""Of the parts whose parameters are counted."""


def facts(
    *,
    settings: Distillation,
    choices: Sequence[Choice],
    kept: Sequence[int],
    blocks: Sequence[Json],
    parameters: tuple[Mapping[str, int], Mapping[str, int]],
    errors: tuple[Json, Json],
    times: Mapping[str, float],
) -> Json:
    """All of a distillation as plain values.

    Args:
        settings: its own.
        choices: of the layers that became smaller.
        kept: channels that each of these has in the student.
        blocks: a `LayerReport` of each layer that was trained.
        parameters: by part, of teacher and student.
        errors: likewise, on the same held-out land.
        times: seconds a tile, ``before`` and ``after``.
    """
    before, after = parameters
    return {
        "method": settings.method,
        "variance": settings.variance,
        "parts": settings.parts,
        "patches": settings.patches,
        "block_steps": settings.block_steps,
        "layers": [_layer(choice, width) for choice, width in zip(choices, kept, strict=True)],
        "blocks": list(blocks),
        "parameters": {
            part: {"before": count, "after": after[part]} for part, count in before.items()
        },
        "seconds_a_tile": dict(times),
        "error": {"before": errors[0], "after": errors[1]},
    }


def _layer(choice: Choice, width: int) -> Json:
    return {
        "name": choice.name,
        "level": choice.level,
        "channels": choice.channels,
        "wanted": choice.kept,
        "wanted_eq14": choice.kept_apart,
        "kept": width,
        "explained": choice.explained[width - 1],
        "curve": choice.explained,
        "curve_eq14": choice.explained_apart,
    }


def short(told: Json) -> Json:
    """What the student's card tells: all but the curves and the blocks' losses."""
    layers = [{k: v for k, v in one.items() if "curve" not in k} for one in told["layers"]]
    return {k: v for k, v in told.items() if k != "blocks"} | {"layers": layers}


def curves(told: Json) -> list[Json]:
    """Each layer's curves, as the figure takes them."""
    return [
        {
            "name": one["name"],
            "whole": one["curve"],
            "apart": one["curve_eq14"],
            "wanted": one["wanted"],
            "kept": one["kept"],
        }
        for one in told["layers"]
    ]


def text(told: Json) -> str:
    """The report for people."""
    rows = [("layer", "channels", "explained", f"for {100 * told['variance']:g} %", "by eq. 14")]
    rows += [
        (
            one["name"],
            f"{one['channels']} → {one['kept']}",
            f"{100 * one['explained']:.1f} %",
            str(one["wanted"]),
            str(one["wanted_eq14"]),
        )
        for one in told["layers"]
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    table = [
        "  " + "  ".join(cell.rjust(wide) for cell, wide in zip(row, widths, strict=True))
        for row in rows
    ]
    counts = [
        f"  parameters, {NAMES[part]}: {_change(one['before'], one['after'], ',d')}"
        for part, one in told["parameters"].items()
    ]
    times, error = told["seconds_a_tile"], told["error"]
    more = [f"  seconds a 256² tile and draw: {_change(times['before'], times['after'], '.3f')}"]
    if error["before"]["pixels"]:
        was, is_ = (error[when]["rmse_mg_c_ha"] for when in ("before", "after"))
        more.append(f"  RMSE on held-out land, Mg C/ha: {_change(was, is_, '.2f')}")
    return "\n".join([*table, *counts, *more])


def _change(before: float, after: float, how: str) -> str:
    share = f" ({100 * (after / before - 1):+.1f} %)" if before else ""
    return f"{before:{how}} → {after:{how}}{share}"
