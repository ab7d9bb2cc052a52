"""Many products, one after the other; a damaged one is named and need not stop the rest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from carbonmap import progress
from carbonmap.cores import cpu_threads
from carbonmap.errors import (
    CarbonmapError,
    ConfigError,
    CorruptData,
    InputError,
    ModelError,
    OutputBusy,
    OutputExists,
    WriteError,
)
from carbonmap.grid import Grid
from carbonmap.io import gf1
from carbonmap.io.output import Existing
from carbonmap.models import omnicloud
from carbonmap.stages.common import Report
from carbonmap.stages.gf1.options import SceneOptions
from carbonmap.stages.gf1.scene import Place, ingest_scene, require_common
from carbonmap.types import Json

COMMON = (ConfigError, CorruptData, ModelError, OutputBusy, WriteError)
"""What no product is to blame for, so that the next would meet it as well: the settings, what the
archive holds, networks, other runs, and the disk."""


def ingest_gf1(
    archive: Path,
    region: str,
    grid: Grid,
    products: Sequence[Path],
    options: SceneOptions,
    *,
    existing: Existing = Existing.REFUSE,
    keep_going: bool = False,
    threads: int | None = None,
) -> Report:
    """GF-1 WFV L1A products as calibrated, orthorectified, cloud-masked scenes of a region.

    Scenes that are finished are left as they are; an interrupted one goes on at its last block.
    Several processes may work on other products of one region at the same time.

    Args:
        archive: its folder.
        region: name of the region.
        grid: the region's.
        products: folders of products, products' folders, archives or files; a scene that is named
            as files and as an archive counts once. Archives below a folder that have no product's
            name are left aside, which is no failure, and the report names them.
        options: how they are made into reflectance.
        existing: what to do about scenes made with other settings.
        keep_going: skip a product that cannot be used, or whose scene is there from other files or
            settings, and say so in the report.
        threads: blocks under way at a time; None takes every core.

    Raises:
        CarbonmapError: of the first product that fails, unless `keep_going`.
    """
    if options.cloud_weights is not None:
        omnicloud.require(options.cloud_weights)
    sources, aside = gf1.find_all(products), gf1.left_aside(products)
    place, cores = Place(archive, region, grid), threads or cpu_threads()
    require_common(place, options)
    texts: list[str] = []
    done: list[Json] = []
    failed: Json = {}
    for source in progress.track(sources, "scenes", len(sources) if len(sources) > 1 else 0):
        try:
            report = ingest_scene(place, source, options, existing, cores)
        except COMMON:
            raise
        except CarbonmapError as error:
            if not keep_going:
                raise _of_product(error, source, len(sources)) from error
            failed[str(source)] = str(error)
            texts.append(f"skipped {source.name}: {error}")
        else:
            texts.append(str(report))
            done.append(report.data)
    if aside:
        texts.append(_aside_note(aside))
    if failed and not done:
        raise InputError("no product could be used:\n  " + "\n  ".join(texts))
    data = {"scenes": done, "skipped": failed, "left_aside": [str(path) for path in aside]}
    return Report("\n".join(texts), data, bool(failed))


def _aside_note(aside: Sequence[Path]) -> str:
    """A sentence on archives that were left aside and what to do about them."""
    whose = "archives whose names are no GF-1 WFV products' were"
    if len(aside) == 1:
        whose = "archive whose name is no GF-1 WFV product's was"
    return (
        f"{len(aside)} {whose} left aside: {gf1.listed(path.name for path in aside)} (give a "
        f"product's archive its own name, GF1_WFV…_L1A….tar.gz)"
    )


def _of_product(error: CarbonmapError, source: Path, count: int) -> CarbonmapError:
    """The error, with the product's name where there are many and it does not say."""
    if count == 1 or isinstance(error, OutputExists) or source.name in str(error):
        return error
    return InputError(f"{source.name}: {error}; --keep-going skips such products")
