"""`report`: maps, their totals and errors as one page that opens anywhere, without a network."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from carbonmap import progress
from carbonmap.correlation import EDGES
from carbonmap.errors import InputError
from carbonmap.io import files, lattice, maps, output, page
from carbonmap.io.output import Existing
from carbonmap.project import Project
from carbonmap.sampling import LEAST_SAMPLE
from carbonmap.stages import report_change
from carbonmap.stages.adding import MODEL
from carbonmap.stages.common import TILE_PX, Report
from carbonmap.stages.evaluate import NAMES, maps_in, predicted
from carbonmap.stages.products import SD, SPREAD_SHARE
from carbonmap.stages.report_parts import carbon, picture
from carbonmap.stages.totals_text import ALL, called
from carbonmap.tiles import tiles
from carbonmap.types import Floats, Json

BINS = (0.0, *EDGES, float("inf"))
"""Of the histogram, Mg C/ha; below 0 no map has values."""

SOIL = "soil"
"""In the name of a pool that holds it."""


def report(
    project: Project,
    found: Path,
    out: Path,
    *,
    evaluation: Path | None = None,
    totals: Sequence[Path] = (),
    change: Sequence[Path] = (),
    existing: Existing = Existing.REFUSE,
) -> Report:
    """One offline page of maps: pictures, totals, errors, model, provenance, and what to beware of.

    Args:
        project: the colours.
        found: a map, or a folder of maps.
        out: folder for ``report.html``.
        evaluation: folder that `evaluate` wrote of these maps.
        totals: folders that `totals` wrote, one a map.
        change: folders that `change` wrote of two of these maps.
        existing: what to do about a page made of other things.

    Raises:
        MissingInput: there is no finished map, or no finished evaluation, totals or change where
            said.
        InputError: no model predicted a map, or evaluation, totals or change are of other maps.
    """
    marks = {path: predicted(path, by_size=True) for path in maps_in(found)}
    hashes = {files.sha256(path): path for path in marks}
    summed = _totals(totals, hashes)
    judged = _evaluation(evaluation, hashes)
    changed = report_change.changes(change, hashes)
    style = project.output.style_range_mg_c_ha
    origin: Json = {
        "stage": "report",
        "maps": {path.name: own for own, path in hashes.items()},
        "totals": [files.sha256(folder / "totals.json") for folder in totals],
        "changes": [files.sha256(folder / "change.json") for folder in change],
        "evaluation": evaluation and files.sha256(evaluation / "evaluation.json"),
        "style_range_mg_c_ha": list(style),
    }
    final = out / "report.html"
    with output.claim(out / "report.json", origin, existing) as work:
        if work is None:
            return Report(f"{final} is up to date", {"page": str(final), "state": "up to date"})
        told = [
            _map(path, mark, style, work.folder, summed.get(path), judged.get(path))
            for path, mark in marks.items()
        ]
        context = {
            "title": f"Carbon of {_regions(marks)}",
            "pools": " / ".join(dict.fromkeys(_plain(_pools(mark)) for mark in marks.values())),
            "version": version("carbonmap"),
            "warnings": _warnings(marks, summed, judged) + report_change.warnings(changed),
            "maps": told,
            "changes": [
                report_change.section(folder, done, style, work.folder)
                for folder, done in zip(change, changed, strict=True)
            ],
        }
        work.begin_publishing()
        files.write_text(final, page.render("report.html", context))
        work.finish([final], {"page": str(final), "warnings": context["warnings"]})
    size = final.stat().st_size / 1e6
    text = f"{final}: {len(marks)} map{'s' * (len(marks) > 1)}, {size:.1f} MB"
    lines = [f"  warning: {one}" for one in context["warnings"]]
    return Report("\n".join([text, *lines]), {"page": str(final), "state": "written"})


def _totals(folders: Sequence[Path], hashes: Mapping[str, Path]) -> dict[Path, Json]:
    """What `totals` found, by map.

    Raises:
        InputError: a folder is of another map.
    """
    held = {}
    for folder in folders:
        done = output.require_complete(folder / "totals.json", "totals")
        if done["origin"]["map"] not in hashes:
            raise InputError(
                f"totals {str(folder)!r} are of {done['report']['map']}, which is not among the "
                f"maps or has changed since; run `carbonmap totals` of one of these"
            )
        path = hashes[done["origin"]["map"]]
        if path in held:
            raise InputError(
                f"totals {str(folder)!r} are of {path.name} like another folder's; add its areas "
                f"and classes up by one `carbonmap totals`"
            )
        held[path] = done["report"]
    return held


def _evaluation(folder: Path | None, hashes: Mapping[str, Path]) -> dict[Path, Json]:
    """What `evaluate` found, by map.

    Raises:
        InputError: it is of none of them.
    """
    if folder is None:
        return {}
    done = output.require_complete(folder / "evaluation.json", "evaluation")
    own = done["origin"]["maps"]
    held = {
        hashes[value]: done["report"]["maps"][name]
        for name, value in own.items()
        if value in hashes
    }
    if not held:
        raise InputError(
            f"evaluation {str(folder)!r} is of {', '.join(own)}, none of which is among the maps "
            f"as they are; run `carbonmap evaluate` of these"
        )
    return held


def _map(
    path: Path,
    mark: Json,
    style: tuple[float, float],
    folder: Path,
    summed: Json | None,
    judged: Json | None,
) -> Json:
    """All that the page says of one map."""
    facts, valid = mark["report"], mark["report"]["valid_pixels"]
    skipped, every, note = facts["tiles"]["skipped"], facts["tiles"]["all"], facts["note"]
    return {
        "name": mark["origin"]["region"]["name"],
        "date": facts["date"],
        "t_c": f"{facts['t_c']:,.0f}",
        "share": f"{facts['area_share']:.1%}",
        "pixels": f"{valid['count']:,}",
        "pixel_m": f"{facts['grid']['pixel_m']:g}",
        "least": f"{valid['min']:.1f}",
        "most": f"{valid['max']:.1f}",
        "note": note[:1].upper() + note[1:],
        "skipped": f"{skipped:,} of {every:,} tiles hold nothing" if skipped else "",
        "pictures": _pictures(path, style, folder),
        "histogram": _bars(_histogram(path)),
        "totals": [_row(one) for one in summed["areas"] if one["mapped_ha"]] if summed else [],
        "by_pool": _by_pool(summed["areas"][0]) if summed else [],
        "accuracy": _accuracy(judged) if judged else [],
        "model": _model(facts),
        "origin": json.dumps(mark["origin"], indent=1, ensure_ascii=False),
    }


def _pictures(path: Path, style: tuple[float, float], folder: Path) -> list[Json]:
    """The map, and its standard deviation where that lies beside it."""
    name = folder / f"{path.stem}.png"
    drawn = [picture(name, *maps.overview(path), style, "Carbon density")]
    beside = path.with_name(path.name.replace("carbon_density", SD))
    if beside.is_file() and maps.mark_of(beside).is_file():
        ends = (0.0, SPREAD_SHARE * style[1])
        title = "Standard deviation of the model's draws"
        drawn.append(picture(folder / f"{beside.stem}.png", *maps.overview(beside), ends, title))
    return drawn


def _histogram(path: Path) -> Floats:
    """Hectares of each of `BINS`."""
    grid, found = maps.map_grid(path), np.zeros(len(BINS) - 1)
    todo = list(tiles(grid, TILE_PX))
    for tile in progress.track(todo, "counting", len(todo)):
        density = lattice.read_on_grid(path, tile.grid, "map")
        known = np.isfinite(density)
        area = np.broadcast_to(tile.grid.pixel_area_ha(), density.shape)
        found += np.histogram(np.maximum(density[known], 0), BINS, weights=area[known])[0]
    return found


def _bars(hectares: Floats) -> list[Json]:
    longest = hectares.max() or 1.0
    names = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(BINS)]
    names[-1] = f"over {BINS[-2]:g}"
    return [
        {"range": name, "width": f"{100 * value / longest:.1f}", "area": f"{value:,.0f}"}
        for name, value in zip(names, hectares, strict=True)
    ]


def _by_pool(whole: Json) -> list[Json]:
    """A line of every pool but all together."""
    pools = whole["pools"]
    return [{"name": _plain(name)} | carbon(own) for name, own in pools.items() if name != ALL]


def _plain(name: str) -> str:
    """A pool's name, or several, as people write it."""
    return name.replace("_", " ")


def _row(one: Json) -> Json:
    """A line of the table of totals."""
    own, sample = one["pools"][ALL], one["sample"]
    how = one["estimator"] + (f", {sample['stands']} stands" if sample else "")
    return carbon(own) | {
        "name": called(one),
        "mapped": f"{one['mapped_ha']:,.0f}",
        "how": how,
        **{name: f"{half:,.0f}" for name, half in own["half_t_c"].items()},
    }


def _accuracy(judged: Json) -> list[Json]:
    """Errors of each role of land that has any."""
    rows = []
    for role, name in NAMES.items():
        facts = judged.get(role.name.lower())
        if facts and facts["pixels"]:
            rows.append(
                {
                    "name": name,
                    "pixels": f"{facts['pixels']:,}",
                    "rmse": f"{facts['rmse_mg_c_ha']:.1f}",
                    "mae": f"{facts['mae_mg_c_ha']:.1f}",
                    "bias": f"{facts['bias_mg_c_ha']:+.1f}",
                    "r2": "–" if facts["r2"] is None else f"{facts['r2']:.3f}",
                }
            )
    return rows


def _model(facts: Json) -> list[tuple[str, str]]:
    """What made a map, in pairs."""
    tags = facts["tags"]
    low, high = facts["label_range_mg_c_ha"]
    pairs = [
        ("kind", tags["CARBONMAP_MODEL"]),
        ("carbon profile", tags["CARBONMAP_PROFILE"]),
        ("labels that it learned from", f"{low:.1f} to {high:.1f} Mg C/ha"),
        ("weights, SHA-256", facts["model_sha256"]),
    ]
    drawing = (("draws", "samples"), ("sampler's steps", "sampler_steps"))
    drawn = [(name, facts[key]) for name, key in drawing if key in facts]
    return pairs[:1] + [(name, str(value)) for name, value in drawn] + pairs[1:]


def _regions(marks: Mapping[Path, Json]) -> str:
    names = dict.fromkeys(mark["origin"]["region"]["name"] for mark in marks.values())
    dates = dict.fromkeys(mark["report"]["date"] for mark in marks.values())
    return f"{', '.join(names)}: {', '.join(dates)}"


def _pools(mark: Json) -> str:
    return str(mark["report"]["tags"]["CARBONMAP_POOLS"])


def _warnings(
    marks: Mapping[Path, Json], summed: Mapping[Path, Json], judged: Mapping[Path, Json]
) -> list[str]:
    """What anyone who uses these figures must know, the gravest first."""
    told = []
    if any(SOIL in _pools(mark) for mark in marks.values()):
        told.append(
            "the carbon of litter and soil is included: compare with no figure of trees alone"
        )
    if len(set(map(_pools, marks.values()))) > 1:
        told.append("these maps hold different pools: their figures must not be compared")
    years = [(m["origin"]["region"]["name"], m["report"]["date"][:4]) for m in marks.values()]
    if len(set(years)) < len(years):
        told.append("maps of one year differ by season and by error, not by change of stock")
    for path, mark in marks.items():
        facts, name = mark["report"], path.name
        told += [f"{name}: {text}" for text in facts["warnings"]]
        told += [f"{name}: {text}" for text in judged.get(path, {}).get("warnings", [])]
        if facts["area_share"] < 1:
            told.append(f"{name}: {1 - facts['area_share']:.1%} of the region's grid has no value")
        if path not in summed:
            told.append(f"{name}: its total has no interval")
            continue
        told += [f"{name}: {text}" for text in summed[path]["warnings"]]
        if all(one["estimator"] == MODEL for one in summed[path]["areas"]):
            told.append(
                f"{name}: totals are the model's word: no area holds {LEAST_SAMPLE} stands kept "
                f"aside"
            )
    return told
