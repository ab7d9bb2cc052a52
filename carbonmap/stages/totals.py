"""`totals`: the carbon of areas by a map, with 95 % intervals and what they consist of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from carbonmap import checkpoint
from carbonmap import totals as totals_
from carbonmap.correlation import Structure
from carbonmap.dates import apart
from carbonmap.errors import CorruptData, InputError, MissingInput
from carbonmap.io import files, maps, output, raster
from carbonmap.io.output import Existing
from carbonmap.io.raster import Source
from carbonmap.project import Project
from carbonmap.splits import Role
from carbonmap.stages import labels as labels_
from carbonmap.stages.adding import Sample, sums
from carbonmap.stages.areas import AreaFile, described, outlines_of
from carbonmap.stages.common import Report
from carbonmap.stages.evaluate import model_of, predicted
from carbonmap.stages.job import SPLIT
from carbonmap.stages.totals_text import ALL, csv_text, gaps, text
from carbonmap.totals import Pool, Stock
from carbonmap.types import Json, Plots

if TYPE_CHECKING:
    from carbonmap.io.vector import Frame


def totals(
    project: Project,
    path: Path,
    evaluation: Path,
    labels: Path,
    out: Path,
    *,
    model: Path | None = None,
    areas: AreaFile | None = None,
    classes: Sequence[Source] = (),
    existing: Existing = Existing.REFUSE,
) -> Report:
    """Carbon of a map, of areas and of classes on it, with 95 % intervals.

    The map's errors and how they resemble each other come from `evaluate`, which found them on land
    that the model never saw (`correlation`); the factors' and volumes' from the labels. The sum of
    a map is the model's word, unless `model.split.reference_share` kept stands aside when the model
    was trained: these correct the sum wherever there are enough of them (`sampling`).

    Args:
        project: the least coverage of a pixel that counts among the stands kept aside.
        path: a carbon density map.
        evaluation: folder that `evaluate` wrote of this map, or of another one by its model.
        labels: that the model learned from: pools, factors and volumes.
        out: folder for ``totals.csv`` and ``totals.json``.
        model: folder of the model that made the map, where it is not where the map says.
        areas: outlines, such as counties.
        classes: files of a class raster, such as land cover.
        existing: what to do about totals made otherwise.

    Raises:
        InputError: no model predicted the map, or areas or classes cannot be used.
        MissingInput: map, evaluation or labels are not there or not finished.
        CorruptData: the evaluation is of another model, or damaged.
    """
    mark = predicted(path)
    grid, warnings = maps.map_grid(path), list[str]()
    structure = _structure(path, mark, evaluation, warnings)
    stock = stock_of(labels, mark["report"]["tags"], warnings)
    sample = _sample(path, mark, labels, model, project.labels.min_coverage, warnings)
    outlines = outlines_of(areas, grid)
    for source in classes:
        raster.check_source(source)
    origin: Json = {
        "stage": "totals",
        "map": files.sha256(path),
        "evaluation": files.sha256(evaluation / "evaluation.json"),
        "labels": files.sha256(labels / labels_.MARK),
        "min_coverage": project.labels.min_coverage,
        "sample": sample.number if sample else 0,
        "areas": described(areas),
        "classes": [raster.describe_source(s) for s in classes],
    }
    with output.claim(out / "totals.json", origin, existing) as work:
        if work is None:
            held = (files.read_json(out / "totals.json") or {})["report"]
            return Report(f"{out} is up to date\n{text(held)}", held)
        found = sums(path, grid, structure, outlines, classes, work.folder, sample)
        report: Json = {
            "map": str(path),
            "level": 0.95,
            "spatial_error": structure.to_json(),
            "areas": [one.told(structure, stock) for one in found],
        }
        report["warnings"] = warnings + gaps(report["areas"], list(outlines))
        work.begin_publishing()
        files.write_text(out / "totals.csv", "\ufeff" + csv_text(report))
        work.finish([out / "totals.csv"], report)
    return Report(text(report), report)


def _structure(path: Path, mark: Json, evaluation: Path, warnings: list[str]) -> Structure:
    """How the map's model errs, as its evaluation found.

    Raises:
        InputError: several maps were evaluated and not this one, or too few pixels.
        CorruptData: the evaluation is of another model, or damaged.
    """
    done = output.require_complete(evaluation / "evaluation.json", "evaluation")
    own = done["origin"]["maps"].get(path.name) == files.sha256(path)
    found = done["report"]["maps"]
    if not own and len(found) != 1:
        raise InputError(
            f"evaluation {str(evaluation)!r} is of {len(found)} maps and not of {str(path)!r}; "
            f"evaluate one map alone, as `carbonmap evaluate MAP --truth labels`"
        )
    name = path.name if own else next(iter(found))
    facts = found[name]
    if "spatial_error" not in facts:
        raise InputError(
            f"evaluation {str(evaluation)!r} was made by an older carbonmap, which did not look "
            f"how errors add up; evaluate anew with --overwrite"
        )
    if facts["model_sha256"] != mark["report"].get("model_sha256"):
        raise CorruptData(
            f"evaluation {str(evaluation)!r} is of {name}, which another model made than "
            f"{str(path)!r}; evaluate a map of the same model"
        )
    if not own:
        warnings.append(f"errors were found on {name}; on this map they may be larger")
    if facts["spatial_error"] is None:
        raise InputError(
            f"evaluation {str(evaluation)!r} saw too few pixels that the model had not learned "
            f"from ({facts['held_out']['pixels']:,}) to tell how its errors add up; hold out more"
        )
    try:
        return Structure.from_json(facts["spatial_error"])
    except ValueError as error:
        raise CorruptData(
            f"evaluation {str(evaluation)!r} cannot be understood ({error}); evaluate anew"
        ) from None


def stock_of(labels: Path, tags: Mapping[str, str], warnings: list[str]) -> Stock:
    """Pools, factors and volumes of the labels.

    Raises:
        InputError: the map's pools are not the labels'.
    """
    from carbonmap.io import vector

    done = output.require_complete(labels / labels_.MARK, "labels")
    report, origin = done["report"], done["origin"]
    held, pools = tags.get("CARBONMAP_PROFILE"), origin["profile"]["name"]
    if held != pools:
        raise InputError(
            f"the map is by profile {held!r} and labels {str(labels)!r} by {pools!r}: their pools "
            f"and factors differ; give the labels that the model learned from"
        )
    strata = origin["profile"]["strata"]
    if len(strata) > 1:
        warnings.append(
            f"pools' shares and factors' errors are those of the whole inventory, whose "
            f"{len(strata)} strata err apart: an area of one of them errs by more"
        )
    stands = vector.read_stands(labels / labels_.STANDS)
    carbon = report["totals"]["t_c"]
    percent = float(origin["labels"]["volume_uncertainty_percent"])
    found = {
        name: Pool(
            carbon[name] / carbon[ALL] if carbon[ALL] else 0.0,
            totals_.factors_percent(
                _inside(stands, name),
                report["uncertainty"]["approach_1"][name]["half_width_percent"],
                percent,
            ),
        )
        for name in carbon
    }
    own = _inside(stands, ALL)
    total = float(np.nansum(own))
    return Stock(found, percent, float(np.nansum(own**2)) / total if total else 0.0)


def _sample(
    path: Path,
    mark: Json,
    labels: Path,
    model: Path | None,
    min_coverage: float,
    warnings: list[str],
) -> Sample | None:
    """The stands that were kept aside when the map's model was trained; None if none were.

    Raises:
        MissingInput: the model's folder was given, and holds none.
        CorruptData: it is another model.
        InputError: the labels are not those that it learned from.
    """
    from carbonmap.io import vector

    try:
        folder = model_of(path, model)
    except MissingInput as error:
        if model is not None:
            raise
        warnings.append(f"no stands kept aside can be looked for: {error}")
        return None
    require_labels(labels, folder)
    split = vector.read_stands(folder / SPLIT)
    roles = np.array([Role[name.upper()] for name in split["role"]])
    aside = roles == Role.REFERENCE
    if not aside.any():
        return None
    if list(vector.read_stands(labels / labels_.STANDS)["id"]) != list(split["id"]):
        raise InputError(
            f"labels {str(labels)!r} hold other stands than the model of {str(path)!r} was split "
            f"by; give the labels that it learned from"
        )
    learned_on = output.require_complete(folder / checkpoint.MARK, "model")["report"]["dates"]
    day = mark["origin"]["date"]
    if day not in learned_on:
        warnings.append(
            f"the stands kept aside do not correct this map of {day}: by the model's training they "
            f"are of {', '.join(learned_on)}, and a correction would take the change away"
        )
        return None
    year = output.require_complete(labels / labels_.MARK, "labels")["report"].get("inventory_year")
    warnings += [f"{one}; the correction takes it away" for one in apart(year, [day])]
    kept = np.where(aside, np.cumsum(aside) - 1, -1)
    return Sample(labels, kept, roles == Role.TRAIN, roles != Role.OUTSIDE, min_coverage)


def require_labels(labels: Path, folder: Path) -> None:
    """Refuse labels that a model did not learn from.

    Raises:
        InputError: they are others.
    """
    card = output.require_complete(folder / checkpoint.MARK, "model")["report"]
    learned = card.get("inputs", {}).get("labels")
    if learned is not None and learned != files.sha256(labels / labels_.MARK):
        raise InputError(
            f"labels {str(labels)!r} are not those that model {str(folder)!r} learned from; give "
            f"these by --labels, or train anew"
        )


def _inside(stands: Frame, pool: str) -> Plots:
    """Carbon of a pool in each stand's part inside the region, t C."""
    return np.asarray(stands[f"{pool}_t_c"] * stands["inside_share"], dtype=np.float64)
