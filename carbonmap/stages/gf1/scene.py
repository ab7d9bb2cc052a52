"""One GF-1 product into the archive: read, placed, judged, corrected, declared whole."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from carbonmap.clouds import FACTOR
from carbonmap.errors import GridError, InputError
from carbonmap.features import BANDS
from carbonmap.gf1 import LAND_M, Scene
from carbonmap.grid import Grid
from carbonmap.io import gf1, ortho, output, scenes
from carbonmap.io.gf1 import Product
from carbonmap.io.ortho import Camera, Readers
from carbonmap.io.output import Existing
from carbonmap.io.scenes import SceneInfo
from carbonmap.radiometry import SATURATION
from carbonmap.rpc import Rpc
from carbonmap.stages.common import Report, require_space
from carbonmap.stages.gf1 import clouds, finish, judge, raw, text
from carbonmap.stages.gf1.clouds import Sight
from carbonmap.stages.gf1.heights import Heights, heights_of
from carbonmap.stages.gf1.options import SceneOptions
from carbonmap.stages.gf1.raw import Placing
from carbonmap.stages.gf1.sky import Sky, sky_of
from carbonmap.stages.ingest import replace_folder
from carbonmap.types import Json

LOWEST_SUN_DEG = 80.0
"""Zenith past which land gets a sixth of the light at most, most of it from the sky, and ridges
throw shadows of 20 km, which no tile could hold."""

EDGE_STEPS = 50
"""Points along each side of an image by which its footprint is sought."""

MAPS = 3
"""float32 maps that need as much room as a scene and its draft: 2 bytes of counts and 4 of
reflectance for each band, flags twice, block means, and a product's unpacked image."""


@dataclasses.dataclass(frozen=True)
class Place:
    """Where scenes go.

    Args:
        archive: the archive's folder.
        region: name of the region.
        grid: the region's.
    """

    archive: Path
    region: str
    grid: Grid


def require_common(place: Place, options: SceneOptions) -> None:
    """Look for what every scene rests on besides its product, before any is begun.

    Raises:
        InputError: the DEM, the geoid or the reference is missing or cannot be used.
    """
    heights_of(place.archive, place.region, place.grid, options)
    _reference(place, options)


def ingest_scene(
    place: Place,
    source: Path,
    options: SceneOptions,
    existing: Existing = Existing.REFUSE,
    threads: int = 1,
) -> Report:
    """One product onto the region's grid.

    Args:
        place: where it goes.
        source: the product's folder, archive, or one of its files.
        options: how.
        existing: what to do about a scene made otherwise.
        threads: blocks under way at a time.

    Raises:
        InputError: the product, the DEM or the reference cannot be used.
        OutputExists: the scene is there, made with other settings.
    """
    name, held = gf1.identify(source)
    heights = heights_of(place.archive, place.region, place.grid, options)
    origin: Json = {
        "stage": "ingest gf1",
        "product": held,
        "region": place.grid.to_json(),
        "heights": heights.to_json(),
        "options": options.to_json(),
        "reference": _reference(place, options),
    }
    folder = scenes.folder_of(place.archive, place.region, name)
    mark = folder / scenes.MARK
    with output.claim(mark, origin, existing, by_size=True) as work:
        if work is None:
            return Report(f"{name} is up to date", {"scene": name, "state": "up to date"})
        with _unpacked(work) as unpacked:
            product = gf1.open_product(source, unpacked)
            if product.scene.id != name:
                raise InputError(
                    f"product {str(source)!r} is named {name} and holds {product.scene.id}; give "
                    f"the archive the name of its product"
                )
            report = _make(place, product, heights, options, work, threads)
            if heights.to_json() != origin["heights"]:
                raise InputError(
                    f"the elevation of {place.region!r} was ingested anew while {name} was placed "
                    f"by it; run the same command again once that has ended"
                )
        work.begin_publishing()
        replace_folder(work.folder / "data.zarr", folder / "data.zarr")
        paths = [p for p in sorted((folder / "data.zarr").rglob("*")) if p.is_file()]
        work.finish(paths, report)
    return Report(
        text.text(folder.name, report), {"state": "written", "path": str(folder), **report}
    )


@contextlib.contextmanager
def _unpacked(work: output.Work) -> Iterator[Path]:
    """A folder for an archive's files, a gigabyte and more, which goes however the work ends.

    Of a product that is refused nothing is kept: once it or the DEM is mended, it is another one.
    """
    folder = work.folder / "unpacked"
    try:
        yield folder
    except (InputError, GridError):
        if not (work.folder / output.REPLACED).exists():  # by which an older scene is removed
            shutil.rmtree(work.folder, ignore_errors=True)
            with contextlib.suppress(OSError):  # it holds a finished scene
                work.mark.parent.rmdir()
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _make(
    place: Place,
    product: Product,
    heights: Heights,
    options: SceneOptions,
    work: output.Work,
    threads: int,
) -> Json:
    """Everything between the product and the finished files; returns the report."""
    scene, rpc = product.scene, product.rpc
    if scene.sun_zenith_deg > LOWEST_SUN_DEG:
        raise InputError(
            f"{scene.id}: the sun stands {scene.sun_zenith_deg:.0f}° from the zenith, and past "
            f"{LOWEST_SUN_DEG:.0f}° no reflectance can be told; leave the scene out"
        )
    grid = _reached(place.grid, scene, rpc)
    require_space(work, grid, MAPS)
    optics = judge.optics_of(scene, options)
    with Readers(product.image) as readers:
        found = raw.scan(readers, scene.height, scene.width, threads)
    sky = sky_of(scene, rpc, grid, 0.0)
    camera = Camera(product.image, rpc, found.missing, SATURATION)
    placing = Placing(grid, camera, heights, sky, options.resampling, 0.0)
    land_m, relief_m = raw.require_heights(placing, scene.height, scene.width, threads)
    placing = dataclasses.replace(placing, relief_m=relief_m)
    placing, told = _registered(place, placing, land_m, options, work, threads)
    air = judge.air_of(scene, placing, optics, found, land_m, options)
    waiting = work.folder / raw.DRAFT
    draft = scenes.create_draft(waiting, grid, len(BANDS), FACTOR)
    raw.place(placing, draft, work, threads, scene.id)
    placed = scenes.open_placed(waiting)
    found_clouds = clouds.clouds_of(Sight(placed, placing, optics), options, work, scene.id)
    cloudy = None if found_clouds is None else found_clouds.cloudy
    relief = raw.relief_of(work)
    light = judge.light_fit(placed, placing, optics, air, cloudy, relief, options, threads)
    info = _info(scene, sky, options)
    verdict = finish.Verdict(optics, air, light, found_clouds)
    arrays = scenes.create(work.folder / "data.zarr", info)
    flags = finish.finish(placing, placed, verdict, arrays, work, threads, scene.id)
    if flags["outside"] == grid.size:
        raise InputError(f"{scene.id} shows no land of the region ({place.grid})")
    notes = text.notes(product, optics.calibration, sky.disagreement_deg, air.notes, told)
    return {
        "scene": info.to_json(),
        "notes": notes,
        "heights": heights.told,
        "land_m": list(land_m),
        "lines": scene.height,
        "lost_lines": int(found.missing.any(axis=0).sum()),
        "calibration": dataclasses.asdict(optics.calibration),
        **air.told,
        **light.told,
        "clouds": options.clouds,
        "registration": told,
        "pixels": {"grid": grid.size, **flags},
    }


def _reached(region: Grid, scene: Scene, rpc: Rpc) -> Grid:
    """The part of the region that the image may show, whatever the land's height.

    Raises:
        InputError: none of it.
    """
    along, across = (np.linspace(-0.5, n - 0.5, EDGE_STEPS) for n in (scene.height, scene.width))
    line = np.concatenate(
        [along, along, np.full(EDGE_STEPS, along[0]), np.full(EDGE_STEPS, along[-1])]
    )
    sample = np.concatenate(
        [np.full(EDGE_STEPS, across[0]), np.full(EDGE_STEPS, across[-1]), across, across]
    )
    low = max(LAND_M[0], rpc.height_off - rpc.height_scale)
    high = min(LAND_M[1], rpc.height_off + rpc.height_scale)
    found = ortho.footprint(rpc, line, sample, (low, high), region)
    if found is None:
        raise InputError(
            f"{scene.id} lies at {scene.corners[0]} to {scene.corners[2]} (degrees), off the "
            f"region, which spans {region.wgs84_bounds}; give the scenes that reach it"
        )
    return scenes.reached(region, found)


def _reference(place: Place, options: SceneOptions) -> Json | None:
    """The reference as output remembers it; what compares with it takes long to load."""
    if options.reference is None:
        return None
    from carbonmap.stages.gf1 import register

    return register.describe(options, place.archive, place.region)


def _registered(
    place: Place,
    placing: Placing,
    land_m: tuple[float, float],
    options: SceneOptions,
    work: output.Work,
    threads: int,
) -> tuple[Placing, Json | None]:
    """The placing, moved where that was asked for, and what the check against a reference found."""
    if options.reference is None:
        return placing, None
    from carbonmap.stages.gf1 import register

    shift = register.shift_of(placing, options, place.archive, place.region, work.folder, threads)
    aligned = options.align and shift.rows is not None
    if aligned:
        rpc = register.moved(placing.camera.rpc, placing.grid, sum(land_m) / 2, shift)
        camera = dataclasses.replace(placing.camera, rpc=rpc)
        placing = dataclasses.replace(placing, camera=camera)
    return placing, register.told(shift, placing.grid.pixel_m, options.align)


def _info(scene: Scene, sky: Sky, options: SceneOptions) -> SceneInfo:
    """What the archive says of a scene; the satellite stands where the camera's rays come from."""
    what = "top-of-atmosphere" if options.atmosphere == "none" else "surface"
    zenith, azimuth, slope = sky.view_plane()
    return SceneInfo(
        scene.id,
        sky.grid,
        BANDS,
        scene.acquired.isoformat(),
        scene.sensor,
        scene.sun_zenith_deg,
        scene.sun_azimuth_deg,
        zenith,
        azimuth,
        f"{what} reflectance",
        slope,
        f"atmosphere {options.atmosphere}, terrain {options.terrain}",
    )
