"""A comparison as Markdown: the paper's Table 2, and Table A3, for the user's own land."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from carbonmap.intervals import QUANTILES_FROM
from carbonmap.types import Json

HEAD = (
    "model", "map", "RMSE, Mg C/ha", "MAE, Mg C/ha", "bias, Mg C/ha", "R²", "SSIM", "PSNR, dB",
    "RMSE, 0–1", "MAE, 0–1",
)  # fmt: skip

SAMPLERS = (
    "model", "CRPS, Mg C/ha", "coverage by rank", "coverage, calibrated", "width, Mg C/ha",
    "k", "effective pixels", "spread ÷ skill",
)  # fmt: skip

SIZES = (
    "model", "parameters", "MB", "s a 256² tile and draw", "steps a draw", "training, min",
    "training, steps", "ended",
)  # fmt: skip

ENOUGH = 1000
"""Effectively independent pixels from which a coverage of 90 % is known to ± 1 %:
``√(0.9 · 0.1 / 1000)``."""


def markdown(report: Json) -> str:
    """The whole report, for people.

    Args:
        report: as ``comparison.json`` holds it.
    """
    models: Mapping[str, Json] = report["models"]
    drawn = {n: m for n, m in models.items() if m["judged"]["generative"]}
    parts = [_opening(report), _errors(report), *_unlike(models)]
    if drawn:
        parts += [_of_means(report), "## Generative models", *_samplers(report, drawn)]
    parts += ["## Size and time", *_sizes(models)]
    parts += ["## Bias by density, Mg C/ha", *_biases(models, report["draws"] if drawn else 0)]
    return "\n\n".join(parts) + "\n"


def _opening(report: Json) -> str:
    images = len(report["days"])
    over = f" in {images} images" if images > 1 else ""
    forest = ", in the forest alone" if report["mask"] else ""
    return (
        f"# Models on held-out land of {_safe(report['region'])}\n\n"
        f"{report['pixels']:,} pixels{over} of {report['stands']:,} stands that no model has "
        f"learned from{forest}. On the 0–1 scale 1 is {report['scale_mg_c_ha']:.1f} Mg C/ha, the "
        f"largest label; PSNR and SSIM have that range. ± is one standard error by blocks of "
        f"{report['block_m'] / 1000:g} km."
    )


def _errors(report: Json) -> str:
    """Every model's rows, and that of the map which knows nothing but the training labels' mean."""
    mean = report["training_labels"]["mean_mg_c_ha"]
    last = _errors_row("training labels' mean", f"{_number(mean, '.1f')} Mg C/ha everywhere",
                       report["baseline"])  # fmt: skip
    rows = [row for name, model in report["models"].items() for row in _rows(name, model)]
    return _table(HEAD, [*rows, last])


def _unlike(models: Mapping[str, Json]) -> list[str]:
    """A warning where models were judged on different pixels, since not all know all layers."""
    counts = {name: m["judged"]["one"]["pixels"] for name, m in models.items()}
    if len(set(counts.values())) == 1:
        return []
    told = ", ".join(f"{_safe(name)} {count:,}" for name, count in counts.items())
    return [
        f"**Judged on different pixels**, where each has its layers: {told}. Compare with care."
    ]


def _of_means(report: Json) -> str:
    return (
        f"A perfect sampler's single draw has √2 = 1.41 times the RMSE of the true mean, a mean of "
        f"{report['mean_of']} draws {report['mean_factor']:.2f} times: compare a regression with "
        f"means, and draws with draws."
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _rows(name: str, model: Json) -> list[list[str]]:
    judged = model["judged"]
    if not judged["generative"]:
        return [_errors_row(name, "its only map", judged["one"])]
    few = _errors_row(name, f"mean of {judged['mean_of']} draws", judged["mean"])
    return [_errors_row(name, "one draw", judged["one"]), few]


def _errors_row(name: str, kind: str, e: Json) -> list[str]:
    spread = e.get("rmse_bootstrap")
    error = f" ± {spread['standard_error']:.2f}" if spread else ""
    return [
        _safe(name), kind, f"{e['rmse_mg_c_ha']:.2f}{error}", f"{e['mae_mg_c_ha']:.2f}",
        f"{e['bias_mg_c_ha']:+.2f}", _number(e["r2"], ".3f"), _number(e.get("ssim"), ".3f"),
        _number(e["psnr_db"], ".2f"), f"{e['rmse_01']:.4f}", f"{e['mae_01']:.4f}",
    ]  # fmt: skip


def _samplers(report: Json, drawn: Mapping[str, Json]) -> list[str]:
    text = (
        f"Of all {report['draws']} draws; intervals are to hold 90 %. Calibrated ones reach k "
        f"times as far from the mean as {_reach(report['draws'])}; k is found on each half of the "
        f"held-out blocks of the split and judged on the other. A regression's CRPS is its MAE."
    )
    if report["draws"] < report["least_draws"]:
        text += (
            f" Coverage by rank is left out: the outermost of {report['draws']} draws hold less "
            f"than 90 %; {report['least_draws']} draws are enough."
        )
    for name, model in drawn.items():
        held = model["judged"]["interval"]
        if held["k"] is None:
            text += f" {_safe(name)} has no k: {held['why']}."
        elif (held["effective_pixels"] or 0) < ENOUGH:
            text += (
                f" {_safe(name)} is judged on fewer than {ENOUGH:,} effectively independent "
                f"pixels: its coverage is known no better than its ± tells."
            )
    return [_table(SAMPLERS, [_sampler(n, m["judged"]) for n, m in drawn.items()]), text]


def _reach(draws: int) -> str:
    """What `intervals.sides` takes for the draws' own reach, in words."""
    if draws >= QUANTILES_FROM:
        return "the draws' own quantiles"
    return "one standard deviation of the draws"


def _sampler(name: str, judged: Json) -> list[str]:
    whole, held = judged["ensemble"], judged["interval"]
    boot = held.get("bootstrap")
    error = f" ± {100 * boot['standard_error']:.1f}" if boot else ""
    share = held.get("coverage")
    return [
        _safe(name), _number(whole["crps_mg_c_ha"], ".2f"), _percent(whole["coverage_90"]),
        "–" if share is None else f"{100 * share:.1f}{error} %",
        _number(held.get("width_mg_c_ha"), ".1f"),
        " / ".join(f"{k:.2f}" for k in held["k"] or ()) or "–",
        _number(held.get("effective_pixels"), ",.0f"), _number(whole["spread_skill"], ".2f"),
    ]  # fmt: skip


def _sizes(models: Mapping[str, Json]) -> list[str]:
    text = (
        "Seconds are of one map, or one draw with all of its steps (the paper's table A3 has 20): "
        "of the CPU, all threads together"
    )
    gpus = {name: m["device"] for name, m in models.items() if m["device"] != "cpu"}
    if gpus:
        text += f"; by the clock, {', '.join(f'{_safe(n)} on {d}' for n, d in gpus.items())}"
    text += (
        ". Minutes of training likewise, on the device that it ran on; of networks the time of "
        "their steps, without validation; – where nobody measured it. Parameters are told of "
        "networks."
    )
    if any(m["chosen_on_validation"] for m in models.values()):
        text += (
            " Weights chosen by their error on the held-out blocks flatter their model, for it is "
            "judged on these."
        )
    return [_table(SIZES, [_size(n, m) for n, m in models.items()]), text]


def _size(name: str, model: Json) -> list[str]:
    return [
        _safe(name), _number(model["parameters"], ",d"), f"{model['bytes'] / 1e6:.2f}",
        _number(model["seconds_a_tile"], ".3f"), _number(model["sampler_steps"], "d"),
        _number(model["training_min"], ".2f"), _number(model["training_steps"], ",d"),
        _ended(model),
    ]  # fmt: skip


def _ended(model: Json) -> str:
    if model["stopped_early"] is None:
        return "–"
    when = "early" if model["stopped_early"] else "at its last step"
    return f"{when}, weights chosen" if model["chosen_on_validation"] else when


def _biases(models: Mapping[str, Json], draws: int) -> list[str]:
    text = (
        "By the labels even the best mean is too high in the lowest class and too low in the "
        "highest; by the map itself one that is right on average has no bias in any class"
    )
    text += f". Of generative models, the mean of all {draws} draws." if draws else "."
    counts = [*next(iter(models.values()))["judged"]["classes"]]
    labels = ["pixels", "", *(f"{c['pixels'] + c['pixels_missing']:,}" for c in counts)]
    names = [_span(c) for c in counts]
    rows = [
        [_safe(name), how, *(_number(c["bias_mg_c_ha"], "+.1f") for c in m["judged"][key])]
        for name, m in models.items()
        for how, key in (("labels", "classes"), ("map", "classes_by_map"))
    ]
    return [_table(["model", "classed by", *names], [*rows, labels]), text]


def _span(one: Json) -> str:
    low, high = one["from_mg_c_ha"], one["to_mg_c_ha"]
    return f"{low:g}+" if high is None else f"{low:g}–{high:g}"


def _safe(text: str) -> str:
    """A name that cannot end a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _number(value: float | None, how: str) -> str:
    return "–" if value is None else format(value, how)
