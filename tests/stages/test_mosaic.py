"""Mosaics: every pixel is the named scene's, gaps are counted exactly, nothing is half."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from carbonmap import overlaps
from carbonmap.composite import NO_SOURCE, Candidate, Preference, compose
from carbonmap.crs import transform_points
from carbonmap.errors import (
    ConfigError,
    CorruptData,
    GridMismatch,
    InputError,
    MissingInput,
    OutputExists,
)
from carbonmap.harmonise import Harmonising
from carbonmap.io import composed, files, output, scenes, store
from carbonmap.io.output import Existing
from carbonmap.lazy import open_stack
from carbonmap.quality import NOT_MEASURED, Quality
from carbonmap.seams import seam_steps
from carbonmap.stages.mosaic import MosaicOptions, mosaic, run, sources
from tests.conftest import SPLIT, Folder
from tests.mosaics import layout
from tests.scene_archives import (
    EDGE_PX,
    REGION,
    Shot,
    keep,
    region_grid,
    same_day,
    shots_of,
    twelve,
    write_mark,
)

STEPS = np.float32(2**14)

PLAIN = MosaicOptions(harmonise=False)

BLOCKS = 20
"""Of the twelve scenes' region."""


@pytest.fixture(autouse=True, scope="module")
def _small_chunks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "CHUNK_PX", EDGE_PX)
        yield


def archive_of(path, grid, shots):
    for shot in shots:
        keep(path, grid, shot)
    return path


@dataclasses.dataclass(frozen=True)
class Made:
    """A mosaic of twelve scenes with every fault, and what it was made of."""

    archive: Path
    grid: object
    shots: list
    report: dict
    image: np.ndarray
    source: np.ndarray
    quality: np.ndarray

    @property
    def folder(self):
        return self.archive / REGION / "image_2020-08-16"


@pytest.fixture(scope="module")
def made(tmp_path_factory, _small_chunks):
    """Do not write into it."""
    grid, shots = twelve(1, spoilt=3)
    archive = archive_of(tmp_path_factory.mktemp("mosaic"), grid, shots)
    report = mosaic(archive, REGION, grid, ["2020-08"], MosaicOptions(), threads=2).data
    arrays = (a[:] for a in composed.open_whole(archive / REGION / "image_2020-08-16/data.zarr"))
    shots = sorted(shots, key=lambda shot: shot.id)
    return Made(archive, grid, shots, report["mosaics"][0], *arrays)


@pytest.fixture
def copy(made, tmp_path):
    """The archive again, with its scenes and nothing made of them."""
    shutil.copytree(made.archive / REGION / "scenes", tmp_path / REGION / "scenes")
    return tmp_path


def products(folder):
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def moved(shot, facts):
    """A scene's values by the gains and offsets of the report."""
    gain, offset = (np.array(facts[n], np.float32)[:, None, None] for n in ("gain", "offset"))
    return np.round((shot.image * gain + offset) * STEPS) / STEPS


def test_every_pixel_is_the_harmonised_value_of_the_scene_that_is_named(made):
    assert [facts["id"] for facts in made.report["scenes"]] == [shot.id for shot in made.shots]
    assert set(np.unique(made.source)) == {*range(12), NO_SOURCE}
    for number, (shot, facts) in enumerate(zip(made.shots, made.report["scenes"], strict=True)):
        own = made.source == number
        np.testing.assert_array_equal(made.image[:, own], moved(shot, facts)[:, own])
        np.testing.assert_array_equal(made.quality[own], shot.quality[own])
        assert np.isfinite(made.image[:, own]).all()
    assert np.isnan(made.image[:, made.source == NO_SOURCE]).all()


def test_blocks_are_the_parts_of_the_region_composed_as_a_whole(made):
    """So no border of blocks can be seen, and halos are wide enough."""
    preference = Preference()
    candidates = [
        Candidate(
            number,
            moved(shot, facts),
            np.pad(shot.quality, preference.halo),
            int(shot.day[-2:]) - 16,
            shot.view,
        )
        for number, (shot, facts) in enumerate(zip(made.shots, made.report["scenes"], strict=True))
    ]
    whole = compose(candidates, 2, made.grid.shape, preference)
    np.testing.assert_array_equal(made.source, whole.source)
    np.testing.assert_array_equal(made.image, whole.values)
    np.testing.assert_array_equal(made.quality, whole.quality)


def test_gaps_are_counted_exactly_and_by_reason(made):
    flags = np.array([shot.quality for shot in made.shots])
    unusable = int(NOT_MEASURED | Quality.CLOUD | Quality.CLOUD_SHADOW)
    gaps = [
        {int(q) for q in column if not q & Quality.OUTSIDE}
        for column in flags.reshape(12, -1).T
        if all(int(q) & unusable for q in column)
    ]
    count = dict.fromkeys(("cloud", "cloud_shadow", "missing", "outside"), 0)
    for seen in gaps:
        for name, bits in (("cloud", Quality.CLOUD), ("cloud_shadow", Quality.CLOUD_SHADOW)):
            if any(q & bits for q in seen):
                count[name] += 1
                break
        else:
            count["missing" if seen else "outside"] += 1
    assert {name: gap["pixels"] for name, gap in made.report["gaps"].items()} == count
    assert all(count.values())
    size = made.grid.size
    assert made.report["covered"] == {"pixels": size - len(gaps), "share": 1 - len(gaps) / size}
    used = [int((made.source == n).sum()) for n in range(12)]
    assert [facts["pixels"] for facts in made.report["scenes"]] == used
    assert sum(used) == size - len(gaps)


def test_twelve_scenes_of_two_utm_zones_meet_without_a_seam(tmp_path):
    """The issue's bound is 1.1; as they are, scenes meet in steps of several times the texture."""
    grid, shots = twelve(2)
    archive = archive_of(tmp_path, grid, same_day(shots))
    longitude = transform_points(grid.crs, "EPSG:4326", grid.x, np.full(grid.width, grid.y[0]))[0]
    assert 180 + longitude[0] < 47 * 6 < 180 + longitude[-1]  # zone n ends where 180 + lon is 6 n
    ratios, told = [], []
    for options in (PLAIN, MosaicOptions()):
        report = mosaic(
            archive, REGION, grid, ["2020-08"], options, existing=Existing.OVERWRITE, threads=2
        )
        (one,) = report.data["mosaics"]
        assert one["covered"]["share"] == 1
        ratios.append(one["seams"]["ratio"])
        told.append([line for line in str(report).splitlines() if "seams show" in line])
    assert ratios[0] > 2
    assert ratios[1] <= 1.1
    assert one["harmony"]["difference_after"] < 0.1 * one["harmony"]["difference_before"]
    assert [len(lines) for lines in told] == [1, 0]
    assert "leave --no-harmonise out" in told[0][0]


def test_seams_that_harmony_leaves_are_told_with_what_to_do(tmp_path):
    """Two scenes share no land, so nothing evens out what differs between them."""
    grid = region_grid((70, 80))
    half = np.zeros((70, 80), np.uint8)
    half[:, 40:] = Quality.CLOUD
    rng = np.random.default_rng(1)
    shots = [
        Shot(name, (value + rng.normal(0, 0.01, (2, 70, 80))).astype(np.float32), quality)
        for name, value, quality in (("a", 0.1, half), ("b", 0.3, Quality.CLOUD - half))
    ]
    archive = archive_of(tmp_path, grid, shots)
    report = mosaic(archive, REGION, grid, ["2020-08"], MosaicOptions())
    (note,) = report.data["mosaics"][0]["notes"]
    assert note in str(report)
    assert note.startswith("seams show")
    assert "shorter period" in note
    assert "corrections" in note


def test_seams_are_measured_as_on_the_whole_image(made):
    whole = seam_steps(made.image, made.source)
    assert made.report["seams"]["across_pairs"] == whole.across_count
    assert made.report["seams"]["beside_pairs"] == whole.within_count
    assert made.report["seams"]["ratio"] == pytest.approx(whole.ratio, rel=1e-9)


def test_threads_and_the_order_of_ingest_change_no_byte(made, tmp_path):
    archive = archive_of(tmp_path, made.grid, made.shots[::-1])
    mosaic(archive, REGION, made.grid, ["2020-08"], MosaicOptions(), threads=1)
    assert products(tmp_path / REGION / "image_2020-08-16") == products(made.folder)


def test_an_interrupted_mosaic_goes_on_where_it_was(made, copy, monkeypatch):
    """Stopped while scenes are compared, in the blocks, and while steps are read back."""
    real, begun = run.compose_block, []

    def counted(held, roi, *more):
        begun.append(roi)
        if len(begun) == 7:
            raise KeyboardInterrupt
        return real(held, roi, *more)

    with monkeypatch.context() as patch:
        patch.setattr(sources, "solve", interrupt)
        with pytest.raises(KeyboardInterrupt):
            make(copy, made)
    monkeypatch.setattr(run, "compose_block", counted)
    with pytest.raises(KeyboardInterrupt):
        make(copy, made)
    with monkeypatch.context() as patch:
        patch.setattr(run, "block_steps", interrupt)
        patch.setattr(sources, "solve", interrupt)  # its result is in the journal
        with pytest.raises(KeyboardInterrupt):
            make(copy, made)
    assert len(begun) == BLOCKS + 1
    folder = copy / REGION / "image_2020-08-16"
    assert [p.name for p in folder.iterdir()] == [".layer.work"]
    make(copy, made)
    assert len(begun) == BLOCKS + 1
    assert products(folder) == products(made.folder)


def interrupt(*_args):
    raise KeyboardInterrupt


def make(archive, made, options=None, **more):
    how = {"threads": 1} | more
    return mosaic(archive, REGION, made.grid, ["2020-08"], options or MosaicOptions(), **how)


def test_an_unchanged_mosaic_is_up_to_date_and_a_changed_one_refused(made, copy):
    make(copy, made, PLAIN)
    assert make(copy, made, PLAIN).data["mosaics"][0]["state"] == "up to date"
    for options in (MosaicOptions(), MosaicOptions(Preference(edge_days=1.0), False)):
        with pytest.raises(OutputExists, match=r"options\."):
            make(copy, made, options)
    new = dataclasses.replace(made.shots[4], id="GF1_WFV1_new")
    folder = keep(copy, made.grid, new)
    with pytest.raises(OutputExists, match=r"scenes\.GF1_WFV1_new: absent → a file"):
        make(copy, made, PLAIN)
    report = make(copy, made, PLAIN, existing=Existing.OVERWRITE).data["mosaics"][0]
    assert len(report["scenes"]) == 13
    (info,) = (i for _, i in scenes.scenes(copy, REGION) if i.id == new.id)
    write_mark(folder, dataclasses.replace(info, view_zenith_deg=1.0))
    with pytest.raises(OutputExists, match=r"scenes\.GF1_WFV1_new: its content changed"):
        make(copy, made, PLAIN)


@pytest.mark.faults
@pytest.mark.parametrize("harm", ["lost", "flipped"])
@pytest.mark.parametrize("array", ["image/c/1/1/1", "quality/c/0/1"])
def test_a_damaged_scene_stops_it_by_name_and_nothing_is_published(made, copy, array, harm):
    shot = made.shots[7]
    chunk = scenes.folder_of(copy, REGION, shot.id) / "data.zarr" / array
    raw = bytearray(chunk.read_bytes())
    raw[len(raw) // 2] ^= 4
    chunk.write_bytes(raw)
    if harm == "lost":
        chunk.unlink()
    with pytest.raises(CorruptData, match=shot.id):
        make(copy, made)
    assert not (copy / REGION / "image_2020-08-16" / "layer.json").exists()
    assert store.layers(copy, REGION) == []


@pytest.mark.faults
def test_a_scene_that_changes_while_it_is_read_spoils_no_mosaic(made, copy, monkeypatch):
    (folder, info), *_ = scenes.scenes(copy, REGION)
    real = run.compose_block

    def meanwhile(*args):
        write_mark(folder, dataclasses.replace(info, sensor="WFV9"))
        return real(*args)

    monkeypatch.setattr(run, "compose_block", meanwhile)
    with pytest.raises(InputError, match=f"{info.id} was ingested anew"):
        make(copy, made)
    assert store.layers(copy, REGION) == []


@pytest.mark.faults
def test_a_chunk_of_unfinished_work_that_was_lost_is_made_again(made, copy, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(run, "block_steps", interrupt)
        with pytest.raises(KeyboardInterrupt):
            make(copy, made)
    folder = copy / REGION / "image_2020-08-16"
    (folder / ".layer.work/data.zarr/source/c/2/3").unlink()
    flipped = folder / ".layer.work/data.zarr/image/c/0/1/1"
    flipped.write_bytes(flipped.read_bytes()[::-1])
    make(copy, made)
    assert products(folder) == products(made.folder)


def flat(value, shape, quality=0, **more):
    """A scene of one value."""
    image = np.full((2, *shape), value, np.float32)
    return Shot(image=image, quality=np.full(shape, quality, np.uint8), **more)


def test_periods_choose_their_scenes_and_each_has_its_image(tmp_path):
    grid = region_grid((70, 80))
    days = {"a": "2020-02-29", "b": "2020-03-01", "c": "2020-05-15", "d": "2020-05-31"}
    shots = [flat(0.1 * n, (70, 80), id=i, day=d) for n, (i, d) in enumerate(days.items(), 1)]
    archive = archive_of(tmp_path, grid, shots)
    periods = ["2020-02/2020-03", "2020-05", "2020-05"]
    report = mosaic(archive, REGION, grid, periods, PLAIN)
    chosen = [[s["id"] for s in one["scenes"]] for one in report.data["mosaics"]]
    assert chosen == [["a", "b"], ["c", "d"]]
    layers = {info.name: info for _, info in store.layers(archive, REGION)}
    assert {n: (i.period, i.scenes) for n, i in layers.items()} == {
        "image_2020-03-01": ("2020-02/2020-03", ("a", "b")),
        "image_2020-05-16": ("2020-05", ("c", "d")),
    }
    items = [archive / REGION / n / f"{n}.json" for n in layers]
    found = [json.loads(p.read_text())["properties"] for p in items]
    assert [(i["start_datetime"], i["end_datetime"]) for i in found] == [
        ("2020-02-01T00:00:00Z", "2020-03-31T23:59:59Z"),
        ("2020-05-01T00:00:00Z", "2020-05-31T23:59:59Z"),
    ]
    assert found[0]["carbonmap:scenes"] == ["a", "b"]
    collection = json.loads((archive / REGION / "collection.json").read_text())
    assert collection["extent"]["temporal"]["interval"] == [
        ["2020-02-01T00:00:00Z", "2020-05-31T23:59:59Z"]
    ]


def test_one_scene_is_left_as_it_is(tmp_path):
    grid = region_grid((70, 80))
    archive = archive_of(tmp_path, grid, [flat(0.123, (70, 80), id="a", day="2020-02-03")])
    report = mosaic(archive, REGION, grid, ["2020-02-03"], MosaicOptions())
    assert report.data["mosaics"][0]["harmony"] is None
    assert (open_stack(archive, REGION)["image"].values == np.float32(0.123)).all()
    assert "1 scene of 2020-02-03 (2020-02-03)" in str(report)


def test_scenes_that_do_not_meet_are_said_to(tmp_path):
    drawn = layout(1, 2, 1, size=70, step=80)
    grid = region_grid(drawn.truth.shape[1:])
    report = mosaic(
        archive_of(tmp_path, grid, shots_of(drawn)), REGION, grid, ["2020-08"], MosaicOptions()
    )
    assert "no two scenes share enough clear pixels" in str(report)
    json.dumps(report.data, allow_nan=False)


def test_the_shadow_of_clouds_is_a_gap_unless_it_is_wanted(tmp_path):
    grid = region_grid((70, 80))
    shot = flat(0.1, (70, 80), Quality.CLOUD_SHADOW, id="a", day="2020-02-03")
    archive = archive_of(tmp_path, grid, [shot])
    with pytest.raises(InputError, match="the 1 scenes of 2020-02 have no usable pixel"):
        mosaic(archive, REGION, grid, ["2020-02"], PLAIN)
    wanted = MosaicOptions(Preference(cloud_shadow=True))
    report = mosaic(archive, REGION, grid, ["2020-02"], wanted, existing=Existing.OVERWRITE)
    assert report.data["mosaics"][0]["covered"]["share"] == 1


def test_what_cannot_be_composed_is_refused_with_what_there_is(tmp_path):
    grid = region_grid((70, 80))
    with pytest.raises(MissingInput, match=r"no scene of 2020-03; days of the scenes there: none"):
        mosaic(tmp_path, REGION, grid, ["2020-03"], PLAIN)
    one, other = (flat(0.1, (70, 80), id=i, day="2020-02-03") for i in "ab")
    other = dataclasses.replace(other, long_name="top-of-atmosphere reflectance")
    archive = archive_of(tmp_path, grid, [one, other])
    with pytest.raises(MissingInput, match=r"no scene of 2020-03; days .*: 2020-02-03; run"):
        mosaic(archive, REGION, grid, ["2020-03"], PLAIN)
    with pytest.raises(
        InputError,
        match=r"surface reflectance of red, nir: a; top-of-atmosphere reflectance of red, nir: b",
    ):
        mosaic(archive, REGION, grid, ["2020-02"], PLAIN)
    for name in "ab":
        shutil.rmtree(scenes.folder_of(archive, REGION, name))
    for shot, how in (
        (one, "atmosphere dos, terrain auto"),
        (other, "atmosphere 6s, terrain auto"),
    ):
        same = dataclasses.replace(shot, long_name=one.long_name, corrections=how)
        keep(archive, grid, same)
    with pytest.raises(InputError, match=r"\(atmosphere 6s, .*: b; .*\(atmosphere dos, .*: a\)"):
        mosaic(archive, REGION, grid, ["2020-02"], PLAIN)
    for name in "ab":
        shutil.rmtree(scenes.folder_of(archive, REGION, name))
    for shot in (one, dataclasses.replace(one, id="c", day="2020-02-15")):
        keep(archive, grid, shot)
    with pytest.raises(MissingInput, match="no scene of 2020-03"):
        mosaic(archive, REGION, grid, ["2020-02", "2020-03"], PLAIN)
    with pytest.raises(ConfigError, match="middle of 2020-02 and of 2020-02-15 is 2020-02-15"):
        mosaic(archive, REGION, grid, ["2020-02", "2020-02-15"], PLAIN)
    with pytest.raises(GridMismatch, match="scene a is not on the project grid"):
        mosaic(archive, REGION, grid[:60, :60], ["2020-02"], PLAIN)
    assert store.layers(archive, REGION) == []


def test_an_image_that_was_ingested_otherwise_is_not_replaced(made, copy):
    folder = copy / REGION / "image_2020-08-16"
    folder.mkdir()
    (folder / "kept").write_text("kept")
    info = store.LayerInfo("image", made.grid, ("red",), "1", "reflectance", "2020-08-16")
    held = {"kept": files.describe(folder / "kept")}
    output.write_mark(folder / "layer.json", {"sources": 1}, held, {"layer": info.to_json()})
    with pytest.raises(OutputExists, match="give --overwrite to begin anew"):
        make(copy, made)
    assert (folder / "kept").read_text() == "kept"


def test_many_scenes_over_one_place_are_sampled_more_widely(tmp_path, monkeypatch):
    """So that what is kept of them does not grow with their number."""
    monkeypatch.setattr(overlaps, "LATTICE_POINTS", 400)
    grid, seen = region_grid((70, 80)), []
    rng = np.random.default_rng(1)
    shots = []
    for number in range(24):
        image = rng.random((2, 70, 80)).astype(np.float32)
        shots.append(Shot(f"{number:02}", image, np.zeros((70, 80), np.uint8)))
    archive = archive_of(tmp_path, grid, shots)
    monkeypatch.setattr(sources, "solve", lambda held, how: seen.append((held, how)))
    plan = sources.Plan(
        "2020-08", grid, *zip(*scenes.scenes(archive, REGION), strict=True), marks=()
    )
    sources.harmonise(sources.open_sources(plan), Harmonising(), 2)
    ((held, how),) = seen
    assert how == Harmonising()
    assert {len(s.place) for s in held} == {len(held[0].place)}
    assert sum(len(s.place) for s in held) <= 1.5 * 8 * 400  # of rounding at the lattice's ends
    assert min(len(s.place) for s in held) >= 8 * 400 / 24 / 1.5


def test_the_stack_names_the_scene_of_every_pixel_whatever_the_date(tmp_path):
    """b gives a pixel in both months under different numbers; an ingested image has no scenes."""
    grid, shape = region_grid((70, 80)), (70, 80)
    half = np.zeros(shape, np.uint8)
    half[:, :40] = Quality.CLOUD
    days = {"a": "2020-01-31", "b": "2020-02-01", "c": "2020-02-15"}
    shots = [
        dataclasses.replace(flat(n, shape, id=i, day=d), quality=half if i != "b" else half * 0)
        for n, (i, d) in enumerate(days.items(), 1)
    ]
    archive = archive_of(tmp_path, grid, shots)
    periods = ["2020-01/2020-02-01", "2020-02"]
    mosaic(archive, REGION, grid, periods, PLAIN)
    info = store.LayerInfo("image", grid, ("red", "nir"), "1", "reflectance", "2020-03-01")
    folder = archive / REGION / info.name
    array = store.create(folder / "data.zarr", info)
    for roi in store.chunk_rois(array.shape, array.chunks):
        for band in (0, 1):
            store.write_block(array, band, roi, np.full(grid[roi].shape, 9, np.float32))
    output.write_mark(folder / "layer.json", {}, {}, {"layer": info.to_json()})

    stack = open_stack(archive, REGION)
    assert (stack["image_source"].dims, stack["image_source"].dtype) == (("time", "y", "x"), "u2")
    assert stack["image_quality"].dtype == np.uint8
    ids = [*stack["image_source"].attrs["scenes"], None]
    named = stack["image_source"].values[:, 0, [0, -1]]
    assert stack["image_source"].attrs["no_source"] == NO_SOURCE
    assert ids[:-1] == ["a", "b", "c"]
    assert [[ids[min(n, 3)] for n in row] for row in named.tolist()] == [
        ["b", "a"], ["b", "c"], [None, None],
    ]  # fmt: skip
    assert stack["image"].values[:, 0, 0, [0, -1]].tolist() == [[2, 1], [2, 3], [9, 9]]
    np.testing.assert_array_equal(stack["image_quality"].values, 0)
    assert "cloud_shadow" in stack["image_quality"].attrs["flag_meanings"]
    alone = open_stack(archive, REGION, ["2020-03"])
    assert set(alone.data_vars) == {"image"}
    one = open_stack(archive, REGION, ["2020-02-15"])
    assert one["image_source"].attrs["scenes"] == ["b", "c"]
    assert one["image_source"].values[0, 0, [0, -1]].tolist() == [0, 1]


@pytest.fixture(scope="module")
def with_scene(labelled, tmp_path_factory, _small_chunks):
    """The labelled county, whose image of November lies there as a scene of October instead."""
    path = tmp_path_factory.mktemp("mosaic") / "project"
    shutil.copytree(labelled.path, path)
    folder = Folder(path)
    stack = open_stack(path / "archive", "demo")
    image = stack["image"].values[0]
    grid = store.layers(path / "archive", "demo")[0][1].grid
    quality = np.where(np.isfinite(image).all(axis=0), 0, Quality.ZERO).astype(np.uint8)
    bands = tuple(stack["band"].values.tolist())
    for day in ("03", "25"):
        keep(path / "archive", grid, Shot(day, image, quality, f"2020-10-{day}", bands=bands))
    return folder


def test_models_take_a_mosaic_as_any_image(with_scene, capsys):
    folder = with_scene
    folder.run("mosaic", "--dates", "2020-10", "--no-harmonise", "--json")
    (report,) = json.loads(capsys.readouterr().out)["mosaics"]
    assert report["layer"]["scenes"] == ["03", "25"]
    assert report["harmony"] is None
    held = open_stack(folder.path / "archive", "demo")["image"].values
    np.testing.assert_array_equal(held[0], held[1])
    folder.run("train", "--model", "ols", "--dates", "2020-10", *SPLIT, "-o", "models/ols")
    folder.run("predict", "--dates", "2020-10", "--model", "models/ols", "-o", "maps")
    assert (folder.path / "maps" / "demo_2020-10_carbon_density.tif").is_file()


def test_the_command_refuses_in_words(with_scene, capsys):
    with_scene.run("mosaic", "--dates", "2019-10", code=1)
    assert "days of the scenes there: 2020-10-03, 2020-10-25" in capsys.readouterr().err
    with_scene.run("mosaic", "--dates", "2020-10", "--edge-px", "0", code=1)
    assert "edge_px" in capsys.readouterr().err
    with_scene.run("mosaic", "--dates", "2020-11-15", code=1)
    assert "no scene of 2020-11-15" in capsys.readouterr().err
