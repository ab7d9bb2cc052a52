"""A comparison as Markdown: the paper's Table 2, and Table A3, for the user's own land."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from carbonmap.types import Json

HEAD = (
    "model", "map", "RMSE", "MAE", "bias", "R²", "SSIM", "PSNR, dB", "RMSE 0–1", "MAE 0–1",
)  # fmt: skip

SAMPLERS = ("model", "CRPS", "coverage by rank", "mean ± k SD", "k", "spread ÷ skill")

SIZES = ("model", "parameters", "MB", "CPU s a 256² tile and draw", "CPU min of training", "steps")


def markdown(report: Json) -> str:
    """The whole report, for people."""
    models: Mapping[str, Json] = report["models"]
    parts = [
        f"# Models on held-out land of {report['region']}\n",
        f"{report['pixels']:,} pixels of {report['stands']:,} stands that no model has learned "
        f"from; Mg C/ha; the 0–1 scale has {report['scale_mg_c_ha']:.1f} Mg C/ha at 1, and PSNR "
        f"and SSIM that range. A perfect sampler's single draw has √2 = 1.41 times the RMSE of the "
        f"true mean, a mean of {report['mean_of']} draws {report['mean_factor']:.2f} times: "
        f"compare like with like.\n",
        _table(HEAD, [row for name, m in models.items() for row in _rows(name, m)]
               + [_errors_row("labels' mean", "", report["baseline"], {})]),
        "\n## Generative models\n",
        _table(SAMPLERS, [_sampler(n, m) for n, m in models.items() if m["judged"]["generative"]]),
        f"\nCoverage is of 90 % intervals from {report['draws']} draws; that of mean ± k SD has k "
        f"from one half of the held-out blocks and is judged on the other; ± is one standard error "
        f"by blocks of {report['block_m'] / 1000:g} km.\n",
        "\n## Size and time\n",
        _table(SIZES, [_size(n, m) for n, m in models.items()]),
        "\n## Bias by density of the labels, Mg C/ha\n",
        _classes(models),
    ]  # fmt: skip
    return "\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _rows(name: str, model: Json) -> list[list[str]]:
    judged = model["judged"]
    if not judged["generative"]:
        return [_errors_row(name, "regression", judged["one"], judged)]
    few = _errors_row(name, f"mean of {judged['mean_of']}", judged["mean"], judged)
    return [_errors_row(name, "one draw", judged["one"], {}), few]


def _errors_row(name: str, kind: str, e: Json, judged: Json) -> list[str]:
    spread = judged.get("rmse_bootstrap") if kind == "regression" else None
    error = f" ± {spread['standard_error']:.2f}" if spread else ""
    return [
        name, kind, f"{e['rmse_mg_c_ha']:.2f}{error}", f"{e['mae_mg_c_ha']:.2f}",
        f"{e['bias_mg_c_ha']:+.2f}", _number(e["r2"], ".3f"), _number(e.get("ssim"), ".3f"),
        _number(e["psnr_db"], ".2f"), f"{e['rmse_01']:.4f}", f"{e['mae_01']:.4f}",
    ]  # fmt: skip


def _sampler(name: str, model: Json) -> list[str]:
    judged = model["judged"]
    whole, held = judged["ensemble"], judged["interval"]
    if held["k"] is None:
        return [name, _number(whole["crps_mg_c_ha"], ".2f"), _percent(whole["coverage_90"]), "–",
                "–", _number(whole["spread_skill"], ".2f")]  # fmt: skip
    boot = held["bootstrap"]
    error = f" ± {100 * boot['standard_error']:.1f}" if boot else ""
    inside = f"{100 * held['coverage']:.1f}{error} % of {held['effective_pixels']:,.0f} effective"
    return [
        name, _number(whole["crps_mg_c_ha"], ".2f"), _percent(whole["coverage_90"]), inside,
        " / ".join(f"{k:.2f}" for k in held["k"]), _number(whole["spread_skill"], ".2f"),
    ]  # fmt: skip


def _size(name: str, model: Json) -> list[str]:
    return [
        name, _number(model["parameters"], ",d"), f"{model['bytes'] / 1e6:.2f}",
        _number(model["seconds_a_tile"], ".3f"), _number(model["training_cpu_min"], ".1f"),
        _number(model["steps"], ",d"),
    ]  # fmt: skip


def _classes(models: Mapping[str, Json]) -> str:
    first = next(iter(models.values()))["judged"]["classes"]
    names = [
        f"{c['from_mg_c_ha']:g}–{c['to_mg_c_ha']:g}"
        if c["to_mg_c_ha"]
        else f"{c['from_mg_c_ha']:g}+"
        for c in first
    ]
    rows = [
        [name, *(_number(c["bias_mg_c_ha"], "+.1f") for c in m["judged"]["classes"])]
        for name, m in models.items()
    ]
    counts = ["pixels", *(f"{c['pixels']:,}" for c in first)]
    return _table(["model", *names], [*rows, counts])


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _number(value: float | None, how: str) -> str:
    return "–" if value is None else format(value, how)
