"""Evaluation: a map against labels, what the model never saw apart from what it learned."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from carbonmap import checkpoint, fields, progress
from carbonmap.correlation import Residuals
from carbonmap.dates import apart
from carbonmap.errors import CorruptData, InputError, MissingInput
from carbonmap.io import figures, files, maps, output, vector
from carbonmap.io.output import Existing
from carbonmap.project import Project
from carbonmap.splits import Role
from carbonmap.stages import labels as labels_
from carbonmap.stages.common import TILE_PX, Report, error_line
from carbonmap.stages.comparison import Comparison, Judged
from carbonmap.stages.job import SPLIT
from carbonmap.stages.mask import check_mask
from carbonmap.tiles import tiles
from carbonmap.types import Floats, Json

NAMES = {
    Role.VALIDATION: "validation blocks",
    Role.OUTSIDE: "beyond the training area",
    Role.REFERENCE: "kept aside to correct totals",
    Role.BUFFER: "buffer",
    Role.TRAIN: "training",
}

UNSEEN = (Role.VALIDATION, Role.OUTSIDE)
"""Roles of land by which a map may be judged; see `_headline`."""

PAIRS = 100_000
"""Pixels in the figure's scatter at most: enough to fill its bins."""


def evaluate(
    project: Project,
    found: Path,
    truth: Path,
    out: Path,
    *,
    model: Path | None = None,
    mask: Path | None = None,
    existing: Existing = Existing.REFUSE,
) -> Report:
    """Compare maps with labels.

    Args:
        project: the least coverage of a pixel that counts, and the colours.
        found: a map, or a folder of maps.
        truth: a folder of labels, or a density raster on the map's lattice.
        out: folder for ``evaluation.json`` and a figure a map.
        model: folder of the model that made the maps, where it is not where they say.
        mask: forest mask; only forest is compared.
        existing: what to do about an evaluation made otherwise.

    Raises:
        MissingInput: there is no finished map, or the model that knows what it learned is gone.
        GridMismatch: map and truth lie on different lattices.
    """
    paths = maps_in(found)
    density, coverage = _truth(truth)
    if density.resolve() in [p.resolve() for p in paths]:
        raise InputError(
            f"map {str(density)!r} is to be compared with itself; give labels as truth"
        )
    models = {path: model_of(path, model) for path in paths}
    origin: Json = {
        "stage": "evaluate",
        "looks": 3,  # raised when it tells more, so that what an older one told is made anew
        "min_coverage": project.labels.min_coverage,
        "style_range_mg_c_ha": list(project.output.style_range_mg_c_ha),
        "maps": {p.name: files.sha256(p) for p in paths},
        "truth": files.sha256(density),
        "models": {p.name: files.sha256(m / SPLIT) for p, m in models.items()},
        "mask": files.sha256(mask) if mask else None,
    }
    with output.claim(out / "evaluation.json", origin, existing) as work:
        if work is None:
            held = files.read_json(out / "evaluation.json") or {}
            return Report(f"{out} is up to date\n{_text(held['report'])}", held["report"])
        told, drawn = {}, []
        for path, folder in models.items():
            check_mask(mask, maps.map_grid(path))
            pools = _pools(path, density)
            compared = _comparison(project, path, folder, density, coverage, mask)
            facts, pairs = _compare(compared)
            told[path.name] = facts | pools | {"model_sha256": _model_hash(folder)}
            told[path.name]["warnings"] = _ages(path, density)
            drawn.append((compared, facts, pairs))
        work.begin_publishing()
        products = [_figure(project, out, *one) for one in drawn]
        report: Json = {"truth": str(truth), "maps": told}
        work.finish(products, report)
    return Report(_text(report), report)


def maps_in(found: Path) -> list[Path]:
    """The finished density maps that a path means."""
    if found.is_dir():
        paths = sorted(p for p in found.glob("*carbon_density.tif") if maps.mark_of(p).is_file())
        if not paths:
            raise MissingInput(f"folder {str(found)!r} holds no finished *carbon_density.tif")
    else:
        paths = [files.existing(found, "map")]
    for path in paths:
        maps.require_whole(path)
    return paths


def _ages(path: Path, density: Path) -> list[str]:
    """What to say of a map that is of another year than the inventory behind its truth."""
    labels = files.read_json(density.parent / labels_.MARK) or {}
    year = labels.get("report", {}).get("inventory_year")
    return apart(year, [maps.require_whole(path, by_size=True)["report"]["date"]])


def predicted(path: Path, *, by_size: bool = False) -> Json:
    """The sidecar of a finished map of densities that `predict` made.

    Args:
        path: the map.
        by_size: be content with its size.

    Raises:
        InputError: another command made it, or it tells of a map's spread.
    """
    mark = maps.require_whole(path, by_size=by_size)
    if mark["origin"].get("stage") != "predict" or "t_c" not in mark["report"]:
        raise InputError(
            f"map {str(path)!r} holds no densities that a model predicted; give a map that "
            f"`carbonmap predict` wrote, as REGION_YYYY-MM_carbon_density.tif"
        )
    return mark


def _truth(truth: Path) -> tuple[Path, Path | None]:
    """The density raster of the truth, and its coverage where it has one."""
    if truth.name == f"{labels_.TOTAL}.tif" and (truth.parent / labels_.MARK).is_file():
        truth = truth.parent  # the same labels by another name
    if truth.is_dir():
        output.require_complete(truth / labels_.MARK, "labels")
        return truth / f"{labels_.TOTAL}.tif", truth / "coverage.tif"
    units = maps.describe(files.existing(truth, "truth"))["units"]
    if units not in ("", maps.DENSITY_UNITS):
        raise InputError(
            f"truth {str(truth)!r} holds {units}; give carbon density in {maps.DENSITY_UNITS}"
        )
    return truth, None


def _pools(path: Path, truth: Path) -> Json:
    """The pools that map and truth hold, None where one does not tell.

    Raises:
        InputError: both tell, and they differ: carbon with soil is not carbon without.
    """
    held, true = (maps.describe(p)["tags"].get("CARBONMAP_POOLS") for p in (path, truth))
    if None not in (held, true) and held != true:
        raise InputError(
            f"map {str(path)!r} holds {held} and the truth {str(truth)!r} {true}: their "
            f"densities cannot be compared; build labels by the model's profile"
        )
    return {"pools": held, "truth_pools": true}


def model_of(path: Path, given: Path | None) -> Path:
    """The folder of the model that made a map.

    Args:
        path: of the map.
        given: the folder, where it is not where the map says.

    Raises:
        MissingInput: it is not where the map says, and none was given.
        CorruptData: it is another model.
    """
    told = maps.require_whole(path, by_size=True)["report"]
    folder = given or Path(os.path.normpath(path.parent / told.get("model_folder", "")))
    if not told.get("model_folder") and given is None:
        raise MissingInput(f"map {str(path)!r} was not predicted by a model; give --model")
    if not (folder / SPLIT).is_file():
        raise MissingInput(
            f"the model of map {str(path)!r} is not at {str(folder)!r}; it tells which stands were "
            f"held out: give its folder by --model"
        )
    if _model_hash(folder) != told.get("model_sha256"):
        raise CorruptData(f"model {str(folder)!r} is not the one that made {str(path)!r}")
    return folder


def _model_hash(folder: Path) -> str:
    return checkpoint.weights_hash(output.require_complete(folder / checkpoint.MARK, "model"))


def _comparison(
    project: Project,
    path: Path,
    folder: Path,
    density: Path,
    coverage: Path | None,
    mask: Path | None,
) -> Comparison:
    stands = vector.read_stands(folder / SPLIT)
    card = output.require_complete(folder / checkpoint.MARK, "model")["report"]
    return Comparison(
        path,
        density,
        coverage,
        project.labels.min_coverage,
        np.array(stands.geometry.array, dtype=object),
        np.array([Role[r.upper()] for r in stands["role"]], dtype=np.uint8),
        card["split"]["buffer_m"],
        mask,
        card["label_scale_mg_c_ha"],
    )


def _compare(compared: Comparison) -> tuple[Json, tuple[Floats, Floats]]:
    """Errors by role and how they go together, and a sample of held-out pairs for the figure."""
    grid = maps.map_grid(compared.path)
    totals = dict.fromkeys(Role, Judged())
    samples: dict[Role, Floats] = dict.fromkeys(UNSEEN, np.empty((0, 3)))
    residuals = {role: Residuals(grid) for role in UNSEEN}
    todo = list(tiles(grid, TILE_PX))
    for tile in progress.track(todo, "comparing", len(todo)):
        found, estimate, truth, seen = compared.tile(tile)
        totals = {role: totals[role] + found[role] for role in Role}
        lots = fields.uniform(*fields.places(tile.grid), fields.field_key(0, "pairs"))
        for role, held in samples.items():
            both = (seen == role) & np.isfinite(estimate) & np.isfinite(truth)
            residuals[role].add(tile.grid, estimate, np.where(both, truth - estimate, np.nan))
            new = np.column_stack([lots[both], truth[both], estimate[both]])
            samples[role] = _thinned(np.concatenate([held, new]))
    role = _headline(totals)
    pairs, found_one = samples[role], residuals[role].structure()
    spatial: Json = {"spatial_error": found_one and found_one.to_json()}
    return _facts(totals, compared.scale) | spatial, (pairs[:, 1], pairs[:, 2])


def _thinned(sample: Floats) -> Floats:
    """At most `PAIRS` rows, those of the lowest lots: the same ones in whatever order they came.

    Args:
        sample: lot, truth and estimate, ``(pixel, 3)``.
    """
    return sample[np.argsort(sample[:, 0])[:PAIRS]]


def _headline(totals: Mapping[Role, Judged]) -> Role:
    """The role by which a map is judged: the blocks held out, else land that no split touched."""
    return Role.VALIDATION if totals[Role.VALIDATION].errors.count else Role.OUTSIDE


def _facts(totals: Mapping[Role, Judged], scale: float) -> Json:
    return {
        "held_out": totals[_headline(totals)].to_json(scale),
        **{role.name.lower(): totals[role].to_json(scale) for role in NAMES},
    }


def _figure(
    project: Project,
    out: Path,
    compared: Comparison,
    facts: Json,
    pairs: tuple[Floats, Floats],
) -> Path:
    path = out / f"{compared.path.stem}.png"
    shown, bounds, _ = maps.overview(compared.path)
    truth = maps.resampled(compared.truth, bounds, shown.shape)
    limits = project.output.style_range_mg_c_ha
    judged = f"held-out pixels: {error_line(facts['held_out'])}"
    figures.draw_evaluation(
        path, shown, truth, bounds, limits, pairs, f"{compared.path.stem}, {judged}"
    )
    return path


def _text(report: Json) -> str:
    lines = []
    for name, facts in report["maps"].items():
        lines.append(f"{name}: held out: {error_line(facts['held_out'])}")
        lines += [
            f"  {text}: {error_line(facts[role.name.lower()])}"
            for role, text in NAMES.items()
            if facts[role.name.lower()]["pixels"]
        ]
        lines += [f"  warning: {one}" for one in facts["warnings"]]
        if facts["truth_pools"] is None:
            lines.append(
                f"  warning: the truth does not say which pools it holds; the map holds "
                f"{facts['pools']}, and compares with nothing else"
            )
    return "\n".join(lines)
