"""The maps of one prediction: their names, and what each says of the model's draws."""

from __future__ import annotations

from pathlib import Path

from carbonmap import summaries
from carbonmap.grid import Grid
from carbonmap.intervals import LEVEL, sides
from carbonmap.io.cog import Layer
from carbonmap.io.maps import DENSITY_UNITS, MapFile
from carbonmap.project import Project
from carbonmap.stages import common
from carbonmap.stages.drawing import Drawn
from carbonmap.types import Floats, Json, Raster

NAME = "carbon_density"

SD = f"{NAME}_sd"

LOW, HIGH = (f"{NAME}_{end}{LEVEL:.0%}".rstrip("%") for end in ("low", "high"))
"""Ends of the interval that held 90 % of the labels held out: labels share a stand's stock out by
its canopy, and a sample plot in it differs by more."""

SPREAD_SHARE = 0.5
"""Of the densities' colour ramp that the standard deviation's spans."""


def names(drawn: Drawn) -> list[str]:
    """Of the maps that a model's draws give, the map itself first."""
    spread = [SD] if drawn.samples > 1 else []
    return [NAME, *spread, *([LOW, HIGH] if drawn.interval is not None else [])]


def summarise(drawn: Drawn, draws: Floats) -> dict[str, Raster]:
    """What every map says of the draws, ``(draw, row, col)``, by name."""
    out = {NAME: summaries.mean(draws)}
    if drawn.samples > 1:
        out[SD] = summaries.deviation(draws)
    if drawn.interval is not None:
        out[LOW], out[HIGH] = sides(draws).bounds(drawn.interval["k"])
    return out


def map_files(
    project: Project, region: str, grid: Grid, day: str, out: Path, origin: Json, drawn: Drawn
) -> dict[str, MapFile]:
    """The files of all maps of a day, ``REGION_YYYY-MM_NAME.tif``, by name."""
    loaded = drawn.loaded
    pools = loaded.card["pools"]
    tags = common.provenance(
        origin,
        region=region,
        profile=loaded.card["profile"],
        pools=pools,
        model=loaded.card["kind"],
        model_sha256=loaded.sha256,
        **drawn.tags,
    )
    low, high = project.output.style_range_mg_c_ha
    found = {}
    for name in names(drawn):
        layer = Layer(name, f"{_phrase(name, drawn)}: {pools}", DENSITY_UNITS)
        ends = (0.0, SPREAD_SHARE * high) if name == SD else (low, high)
        final = out / f"{region}_{day[:7]}_{name}.tif"
        found[name] = MapFile(final, grid, layer, tags, day[:7], ends)
    return found


def _phrase(name: str, drawn: Drawn) -> str:
    return {
        NAME: "carbon density",
        SD: f"standard deviation of {drawn.samples} draws of carbon density",
        LOW: f"lower end of what held {LEVEL:.0%} of held-out labels of carbon density",
        HIGH: f"upper end of what held {LEVEL:.0%} of held-out labels of carbon density",
    }[name]


def lines(facts: Json) -> list[str]:
    """What is told of the maps that go with the densities."""
    others, told = facts["others"], []
    if SD in others:
        held = others[SD]
        told.append(
            f"{held['map']}: how {facts['samples']} draws differ, {held['mean_mg_c_ha']:.1f} Mg "
            f"C/ha on average"
        )
        if LOW not in others:
            told[-1] += "; how far they err, `carbonmap calibrate` finds"
    if LOW in others:
        wide = others[HIGH]["mean_mg_c_ha"] - others[LOW]["mean_mg_c_ha"]
        told.append(
            f"{others[LOW]['map']}, {others[HIGH]['map']}: interval that held {LEVEL:.0%} of a "
            f"pixel's labels held out, {wide:.1f} Mg C/ha wide on average"
        )
    return told
