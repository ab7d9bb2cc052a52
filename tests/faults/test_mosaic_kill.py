"""Mosaics that are killed, starved or begun twice."""

import random
import shutil
import signal

import pytest

from carbonmap.io import scenes, store
from tests.conftest import Folder
from tests.faults.harm import Command, Run, at, die, litter, products, require_whole, run
from tests.mosaics import layout
from tests.scene_archives import EDGE_PX, REGION, keep, region_grid, shots_of

pytestmark = pytest.mark.faults

MOSAIC = Command(
    ("mosaic", "--dates", "2020-08"), "archive", f"{REGION}/image_2020-08-16/layer.json"
)

PROJECT = """
archive = "archive"
default_region = "demo"

[region.demo]
crs = "china-albers"
pixel_m = 16.0
bounds = {bounds}
"""


def small_chunks():
    """In the process that is hurt, so that four small scenes have many blocks."""
    store.CHUNK_PX = EDGE_PX


def hurt(folder, *harm):
    return run(folder, MOSAIC.words, (small_chunks,), *harm)


@pytest.fixture(scope="module")
def scenes_only(tmp_path_factory):
    """A project whose archive holds four scenes and nothing else. Do not write into it."""
    folder = Folder(tmp_path_factory.mktemp("scenes") / "place")
    drawn = layout(2, 2, 1)
    grid = region_grid(drawn.truth.shape[1:])
    folder.path.mkdir()
    (folder.path / "carbonmap.toml").write_text(PROJECT.format(bounds=list(grid.bounds)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "CHUNK_PX", EDGE_PX)
        for shot in shots_of(drawn, 5):
            keep(folder.path / "archive", grid, shot)
    return folder


@pytest.fixture(scope="module")
def clean(scenes_only, tmp_path_factory):
    """What a run that nobody hurts makes."""
    folder = copy_of(scenes_only, tmp_path_factory.mktemp("clean") / "place")
    done = hurt(folder)
    assert done.code == 0, done.err
    return products(folder, MOSAIC)


@pytest.fixture
def place(scenes_only, tmp_path):
    """A copy to hurt."""
    return copy_of(scenes_only, tmp_path / "place")


def copy_of(folder, path):
    shutil.copytree(folder.path, path)
    return Folder(path)


def test_a_mosaic_killed_between_any_two_renames_leaves_nothing_half_and_is_resumed(place, clean):
    """Rows 3 and 4: in drafts, chunks, the journal, the publishing, the catalogue."""
    before, code, kills = products(place, MOSAIC), -signal.SIGKILL, 0
    while code == -signal.SIGKILL:
        code = hurt(place, (at, "os", "replace", 5 * kills, die)).code
        require_whole(place, MOSAIC, before, clean)
        kills += code == -signal.SIGKILL
    assert code == 0
    assert kills > 4
    assert products(place, MOSAIC) == clean
    assert litter(place.path) == []


def test_a_mosaic_killed_at_random_leaves_nothing_half_and_is_resumed(place, clean):
    """Rows 3 and 4."""
    before, draw = products(place, MOSAIC), random.Random(4)
    for _ in range(4):
        begun = Run(place, MOSAIC.words, (small_chunks,)).until(".layer.work/owner")
        done = begun.after(draw.uniform(0, 1)).send(signal.SIGKILL).end()
        assert done.code in (0, -signal.SIGKILL), done.err
        require_whole(place, MOSAIC, before, clean)
    assert hurt(place).code == 0
    assert products(place, MOSAIC) == clean
    assert litter(place.path) == []


def test_a_second_mosaic_of_the_same_day_is_refused_and_the_first_ends_well(place, clean):
    """Row 22."""
    first = Run(place, MOSAIC.words, (small_chunks,))
    first.until(".layer.work/owner").send(signal.SIGSTOP)
    try:
        second = hurt(place)
    finally:
        first.send(signal.SIGCONT)
    second.said("being written by another run", f"process {first.pid}")
    assert first.end().code == 0
    assert products(place, MOSAIC) == clean


def test_a_scene_half_ingested_is_no_scene(place):
    """Its mark comes last; without it the mosaic is of the others, and says of how many."""
    held = scenes.scenes(place.path / "archive", REGION)
    (held[2][0] / scenes.MARK).unlink()
    done = hurt(place)
    assert done.code == 0, done.err
    assert "3 scenes of 2020-08" in done.out
    assert held[2][1].id not in done.out
