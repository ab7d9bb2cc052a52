"""The county as products: whole, resumed, replaced, and found where it should be."""

import re

import numpy as np
import pytest

from carbonmap import gf1
from carbonmap.cli import main
from carbonmap.errors import ConfigError, OutputExists
from carbonmap.io.output import Existing
from carbonmap.io.raster import environment
from carbonmap.landscape import County, county_grid
from carbonmap.stages import simulate_gf1 as stage
from carbonmap.stages.simulate import simulate
from carbonmap.stages.simulate_gf1 import Scenes, simulate_gf1
from tests.conftest import Folder

GRID = county_grid(32, 32)

COUNTY = County()

TWO = Scenes(lines=40, samples=30, months=("2020-05", "2020-08"))


@pytest.fixture
def folder(tmp_path):
    with environment():
        simulate_gf1(tmp_path, GRID, COUNTY, TWO)
    return tmp_path


def products(folder):
    return sorted(p for p in folder.iterdir() if p.is_dir())


def content(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_every_month_is_one_product_that_parses(folder):
    scenes = [gf1.parse_xml((p / f"{p.name}.xml").read_bytes(), p.name) for p in products(folder)]
    assert [f"{s.acquired:%Y-%m}" for s in scenes] == ["2020-05", "2020-08"]
    for product, scene in zip(products(folder), scenes, strict=True):
        assert (scene.height, scene.width) == (40, 30)
        rpc = gf1.parse_rpb((product / f"{product.name}.rpb").read_text(), product.name)
        gf1.require_fit(rpc, scene)
        at = rpc.project(*np.array(scene.centre), 0.0)
        assert np.allclose(at, (19.5, 14.5), atol=0.6)  # corners have four decimals


def test_the_same_county_gives_the_same_bytes(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    simulate_gf1(other, GRID, COUNTY, TWO)
    for product in products(folder):
        assert content(product) == content(other / product.name)


def test_blocks_drawn_one_or_many_at_a_time_are_the_same(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "BLOCK_PX", 17)
    shot = stage._shot("2020-08", GRID, COUNTY, TWO)
    again = stage.write_shot(tmp_path / "again", shot, workers=1)
    assert content(again) == content(folder / shot.name)


def test_a_second_run_does_nothing(folder, monkeypatch):
    monkeypatch.setattr(stage, "write_shot", None)
    assert simulate_gf1(folder, GRID, COUNTY, TWO).data["state"] == "up to date"


def test_other_settings_are_refused_and_replaced_on_demand(folder):
    before = content(folder)
    one = Scenes(lines=44, samples=30, months=("2020-02",))
    with pytest.raises(OutputExists, match="lines"):
        simulate_gf1(folder, GRID, COUNTY, one)
    assert content(folder) == before
    simulate_gf1(folder, GRID, COUNTY, one, existing=Existing.OVERWRITE)
    (only,) = products(folder)
    assert "20200215" in only.name


def test_an_interrupted_run_keeps_what_it_finished(tmp_path, monkeypatch):
    taken, write = [], stage.write_shot

    def stopped(parent, shot, **how):
        taken.append(shot.name)
        if len(taken) == 2:
            raise KeyboardInterrupt
        return write(parent, shot, **how)

    monkeypatch.setattr(stage, "write_shot", stopped)
    with pytest.raises(KeyboardInterrupt):
        simulate_gf1(tmp_path, GRID, COUNTY, TWO)
    assert not (tmp_path / stage.MARK).exists()
    simulate_gf1(tmp_path, GRID, COUNTY, TWO)
    assert taken[1] == taken[2]
    assert len(taken) == 3
    assert [p.name for p in products(tmp_path) if not p.name.startswith(".")] == taken[:2]
    assert (tmp_path / stage.MARK).is_file()


def test_archives_are_written_on_demand(tmp_path):
    scenes = Scenes(lines=20, samples=20, months=("2020-02",), archive=True)
    simulate_gf1(tmp_path, GRID, COUNTY, scenes)
    (archive,) = tmp_path.glob("*.tar.gz")
    assert products(tmp_path) == []
    assert stage.output.damaged(tmp_path / stage.MARK) == []
    assert archive.name.startswith("GF1_WFV3_E103.5_N26.4_20200215_L1A")


def test_products_do_not_change_the_county_that_they_are_taken_of(tmp_path):
    """Neither its files nor its mark, so a county made before is up to date."""
    simulate(tmp_path / "plain", GRID, COUNTY)
    scenes = Scenes(lines=20, samples=20, months=("2020-02",))
    report = simulate(tmp_path / "both", GRID, COUNTY, scenes)
    plain, both = content(tmp_path / "plain"), content(tmp_path / "both")
    county = {path: data for path, data in both.items() if path.parts[0] != "gf1"}
    named = {path for path in county if path.name != "county.json"}
    assert {path: county[path] for path in named} == {path: plain[path] for path in named}
    assert len(report.data["gf1"]["products"]) == 1
    again = simulate(tmp_path / "plain", GRID, COUNTY, scenes)
    assert again.data["state"] == "up to date"
    assert len(again.data["gf1"]["products"]) == 1


@pytest.mark.parametrize(
    ("scenes", "says"),
    [(Scenes(40, 30, "WFV9"), "WFV9"), (Scenes(40, 30, months=("2020-07",)), "2020-07")],
)
def test_what_there_is_not_is_refused_before_anything_is_written(tmp_path, scenes, says):
    with pytest.raises(ConfigError, match=says):
        simulate_gf1(tmp_path / "new", GRID, COUNTY, scenes)
    assert not (tmp_path / "new").exists()


def test_the_command_takes_products_of_the_size_sensor_and_month_asked_for(tmp_path):
    words = ["county", "--size", "32", "--gf1", "24", "20", "--sensor", "WFV1", "--gf1-month"]
    Folder(tmp_path).run("simulate", *words, "2020-11")
    (product,) = products(tmp_path / "county" / "gf1")
    scene = gf1.parse_xml((product / f"{product.name}.xml").read_bytes(), product.name)
    assert (scene.height, scene.width, scene.sensor) == (24, 20, "WFV1")
    assert f"{scene.acquired:%Y-%m}" == "2020-11"


def test_a_month_that_there_is_not_is_refused_before_the_county_is_drawn(tmp_path):
    with pytest.raises(ConfigError, match=r"'2020-06' is not one of the county's.*2020-02"):
        simulate(tmp_path / "county", GRID, COUNTY, Scenes(40, 30, months=("2020-06",)))
    assert not (tmp_path / "county").exists()


@pytest.mark.parametrize("words", [("--gf1-month", "2020-05"), ("--gf1-archive",)])
def test_options_of_products_that_nobody_asked_for_are_refused(tmp_path, capsys, words):
    Folder(tmp_path).run("simulate", "county", "--size", "32", *words, code=1)
    assert f"{words[0]} without --gf1; add --gf1 LINES SAMPLES" in capsys.readouterr().err
    assert not (tmp_path / "county").exists()


def test_the_help_names_the_months_that_there_are():
    (option,) = (p for p in main.commands["simulate"].params if p.name == "months")
    assert re.findall(r"\d{4}-\d\d", option.help) == [s.month for s in COUNTY.seasons]
