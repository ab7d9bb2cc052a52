"""Claims about a new project's file, and about one that is there."""

import geopandas as gpd
import pytest
import shapely
from click.testing import CliRunner

from carbonmap import config
from carbonmap.cli import main
from carbonmap.errors import ConfigError, InputError, OutputExists
from carbonmap.io.output import Existing
from carbonmap.project import Project
from carbonmap.stages import region as region_
from carbonmap.stages import setup
from tests.inventories import GRID

BOX = {"crs": "EPSG:32648", "pixel_m": 16.0, "bounds": (0.0, 0.0, 1600.0, 1600.0)}


@pytest.fixture
def made(tmp_path):
    """A folder with a project file for region `land`."""
    setup.init(tmp_path, "land", **BOX)
    return tmp_path


def edit(folder, old="", new="# mine\n"):
    """Replace something in the project file; its new text."""
    path = folder / config.FILE
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new) if old else text + new, "utf-8")
    return path.read_text("utf-8")


def test_the_file_holds_the_region_that_was_asked_for(made):
    region = config.load(made / config.FILE).find_region()
    assert (region.name, region.crs, region.pixel_m) == ("land", "EPSG:32648", 16.0)
    assert region.bounds == BOX["bounds"]


@pytest.mark.parametrize("existing", [Existing.REFUSE, Existing.RENEW])
def test_the_same_file_again_is_up_to_date(made, existing):
    assert "up to date" in str(setup.init(made, "land", existing=existing, **BOX))


def test_an_edited_file_is_refused_by_hand_and_kept_by_a_pipeline(made):
    text = edit(made)
    with pytest.raises(OutputExists, match="--overwrite"):
        setup.init(made, "land", **BOX)
    report = setup.init(made, "land", existing=Existing.RENEW, **BOX)
    assert str(report).endswith("is kept, since it was edited")
    assert (made / config.FILE).read_text("utf-8") == text


def test_a_kept_region_that_differs_is_told(made):
    edit(made, "pixel_m = 16.0", "pixel_m = 32.0")
    report = setup.init(made, "land", existing=Existing.RENEW, **BOX)
    assert "region 'land' is not the one that this command would write" in str(report)


def test_a_file_without_that_region_is_never_taken_for_done(made):
    with pytest.raises(OutputExists):
        setup.init(made, "other", existing=Existing.RENEW, **BOX)
    with pytest.raises(OutputExists):  # built in, and so known to every project
        setup.init(made, "huize", existing=Existing.RENEW)


def test_a_file_that_is_no_toml_is_told_and_not_replaced(made):
    text = edit(made, new="nonsense")
    with pytest.raises(ConfigError, match="not TOML"):
        setup.init(made, "land", existing=Existing.RENEW, **BOX)
    assert (made / config.FILE).read_text("utf-8") == text


def test_overwrite_replaces_an_edited_file(made):
    edit(made)
    setup.init(made, "land", existing=Existing.OVERWRITE, **BOX)
    assert "# mine" not in (made / config.FILE).read_text("utf-8")


# A boundary file that leaves something open.


LATTICE = {"crs": "EPSG:32648", "pixel_m": 16.0}
LEFT, BOTTOM = 250_000.0, 2_900_000.0


def square(metres):
    """A boundary of so many metres, in the region's CRS."""
    land = shapely.box(LEFT, BOTTOM, LEFT + metres, BOTTOM + metres)
    return gpd.GeoDataFrame(geometry=[land], crs="EPSG:32648")


@pytest.fixture
def counties(tmp_path):
    """A GeoPackage with two counties, a layer each."""
    path = tmp_path / "counties.gpkg"
    square(1600).to_file(path, layer="huize")
    square(3200).to_file(path, layer="xuanwei")
    return path


def test_a_boundarys_layer_is_asked_for_and_then_written_and_used(counties, tmp_path):
    with pytest.raises(InputError, match=r"boundary .*2 layers .*boundary_layer .*--boundary-lay"):
        setup.init(tmp_path, "land", boundary=counties, existing=Existing.OVERWRITE, **LATTICE)
    told = {"boundary": counties, "boundary_layer": "xuanwei", **LATTICE}
    setup.init(tmp_path, "land", existing=Existing.OVERWRITE, **told)
    project = config.load(tmp_path / config.FILE)
    assert region_.grid_of(project.region["land"]).shape == (200, 200)
    assert region_.outline_of(project, "land").area == 3200**2


def test_a_boundarys_crs_is_asked_for_and_then_written_and_used(tmp_path):
    path = tmp_path / "county.shp"
    square(1600).to_crs("EPSG:4490").to_file(path)
    path.with_suffix(".prj").unlink()
    with pytest.raises(InputError, match=r"boundary_crs .*--boundary-crs") as caught:
        setup.init(tmp_path, "land", boundary=path, existing=Existing.OVERWRITE, **LATTICE)
    assert "assume" not in str(caught.value)
    told = {"boundary": path, "boundary_crs": "EPSG:4490", **LATTICE}
    setup.init(tmp_path, "land", existing=Existing.OVERWRITE, **told)
    project = config.load(tmp_path / config.FILE)
    assert region_.outline_of(project, "land").area == pytest.approx(1600**2, rel=1e-6)


def test_the_command_line_hands_on_layer_and_crs(counties, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = "--region land --crs EPSG:32648 --res 16 --boundary"
    more = "--boundary-layer huize --boundary-crs EPSG:32648"
    done = CliRunner().invoke(main, ["init", *words.split(), counties.name, *more.split()])
    assert done.exit_code == 0, done.output
    region = config.load().region["land"]
    assert (region.boundary_layer, region.boundary_crs) == ("huize", "EPSG:32648")


def test_another_layer_of_the_same_file_is_another_region(counties):
    lands = [
        config.region("land", {**LATTICE, "boundary": str(counties), "boundary_layer": layer})
        for layer in ("huize", "xuanwei")
    ]
    held = [
        region_.region_json(Project(region={"land": land}, archive=counties.parent), "land", GRID)
        for land in lands
    ]
    assert held[0] != held[1]


@pytest.mark.parametrize("how", [{"boundary_layer": "a"}, {"boundary_crs": "EPSG:4490"}])
def test_layer_and_crs_of_no_boundary_are_refused(tmp_path, how):
    with pytest.raises(ConfigError, match=f"{next(iter(how))} stands without `boundary`"):
        setup.init(tmp_path, "land", **BOX, **how)
    assert not (tmp_path / config.FILE).exists()
