"""Claims about the project file: what it refuses, what it says, and that nothing is lost."""

import dataclasses
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carbonmap import config
from carbonmap.config import Region, dump, load, region_grid, template
from carbonmap.errors import ConfigError, GridError, MissingInput
from carbonmap.features import INPUTS, FeatureSpec
from carbonmap.learning.settings import Training
from carbonmap.masks import Threshold
from carbonmap.models.regressors import RECIPES
from carbonmap.project import KINDS, NETWORKS, Inventory, Labels, Model, Output, Project
from carbonmap.settings import to_toml
from carbonmap.splits import SplitSpec

SOURCES = """
[region.zion]
crs = "EPSG:32612"
pixel_m = 30
bounds = [289485, 4095345, 332325, 4150000]
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="carbonmap.toml"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_without_a_file_the_built_in_regions_hold(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    project = load()
    assert set(project.region) == {"huize", "yunnan"}
    assert project.archive == tmp_path / "archive"


def test_the_current_folders_file_is_read_unasked(write, monkeypatch):
    path = write(SOURCES)
    monkeypatch.chdir(path.parent)
    assert load() == load(path)
    assert "zion" in load().region


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[inventory]\nvolum_field = 'V'", r"inventory\.volum_field .*did you mean 'volume_field'"),
        ("archiv = 'a'", r"archiv is unknown; did you mean 'archive'"),
        (
            "[region.huize]\npixelm = 16",
            r"region\.huize\.pixelm .*did you mean 'pixel_m'\? .*crs, pixel_m$",
        ),
        ("[region.huize]\npixel_m = '16'", r"region\.huize\.pixel_m is '16'; .*number"),
        ("[region.huize]\npixel_m = 0", r"region\.huize\.pixel_m is 0; .*greater than 0"),
        ("[region.huize]\npixel_m = nan", r"region\.huize\.pixel_m is nan; .*finite"),
        ("[region.huize]\nname = 'x'", r"region\.huize\.name is unknown"),
        ("[region.huize]\ncrs = 'EPSG:4326'", r"region\.huize\.crs .*needs a projected CRS"),
        ("[region.huize]\ncrs = 'EPSG:2349'", r"region\.huize\.crs .*old Chinese datum"),
        ("[region.huize]\nbounds = [3, 2, 1, 4]", r"region\.huize\.bounds .*left, bottom, right"),
        ("[region.huize]\nbounds = [1, 2, 99, 2]", r"region\.huize\.bounds .*left, bottom"),
        ("[region.huize]\nbounds = [103.0, 25.0, 104.0, 27.0]", r"bounds_crs = \"EPSG:4326\""),
        ("[region.huize]\nboundary = 'a.shp'\nbounds_crs = 'EPSG:4326'", r"huize\.bounds_crs"),
        (
            "[region.huize]\nboundary_layer = 'a'",
            r"huize\.boundary_layer stands without `bou",
        ),
        ("[region.huize]\nboundary_crs = 'EPSG:4490'", r"huize\.boundary_crs stands without"),
        ("[region.huize]\nboundary = 'a.shp'\nboundary_crs = 'x'", r"huize\.boundary_crs is 'x'"),
        ("[region.x]\ncrs = 'EPSG:32648'\npixel_m = 1", r"region\.x needs either `bounds`"),
        ("[region.'a/b']\ncrs = 'EPSG:32648'\npixel_m = 1\nboundary = 'b'", r"region\.a/b\.name"),
        ("region = 3", r"region must be tables"),
        ("region.huize = 3", r"region\.huize must be a table"),
        ("inventory = 'a.shp'", r"inventory is 'a.shp'; it must be a table \[inventory\]"),
        ("[inventory]\nencoding = 'GBQ'", r"inventory\.encoding is 'GBQ'"),
        ("[inventory]\nassume_crs = 'EPSG:1'", r"inventory\.assume_crs is 'EPSG:1'"),
        ("[labels]\nprofile = 'ipc'", r"labels\.profile is 'ipc'; did you mean 'ipcc'"),
        ("[labels]\nmin_coverage = 1.5", r"labels\.min_coverage is 1\.5"),
        ("[labels]\nmonte_carlo = true", r"labels\.monte_carlo is True; .*integer"),
        ("[labels]\nmonte_carlo = 99", r"labels\.monte_carlo is 99; .*at least 100.* 2\.5 % bound"),
        ("[profile.own]\npool = 3", r"profile 'own': .*unknown key 'pool'; did you mean 'pools'"),
        ("[profile]\nown = 3", r"profile\.own is 3; it must be a table"),
        ("[model]\nkind = 'random_forest'", r"model\.kind .*did you mean 'random-forest'"),
        ("[model]\ninputs = ['images']", r"model\.inputs .*did you mean 'image'"),
        ("[model.split]\nblok_m = 1", r"model\.split\.blok_m .*did you mean 'block_m'"),
        ("[model]\nradius = [1]", r"model\.radius .*did you mean 'radii'"),
        ("[output]\nstyle_range_mg_c_ha = [9, 1]", r"output\.style_range_mg_c_ha is .*rise"),
        ("default_region = 'huise'", r"default_region is 'huise'; did you mean 'huize'"),
    ],
)
def test_what_cannot_be_is_refused_by_its_full_name(write, text, says):
    path = write(text)
    with pytest.raises(ConfigError, match=says) as caught:
        load(path)
    assert str(caught.value).startswith(str(path))


def test_every_fault_of_a_file_is_named_at_once(write):
    with pytest.raises(ConfigError) as caught:
        load(write("foo = 1\n[model]\nseed = -1\n"))
    assert re.findall(r": ([\w.]+) is", str(caught.value)) == ["model.seed", "foo"]


def test_a_syntax_error_names_file_and_line(write):
    with pytest.raises(ConfigError, match=r"carbonmap\.toml is not TOML: .*line 2"):
        load(write("archive = 'a'\nnonsense\n"))


def test_a_windows_path_in_double_quotes_gets_its_hint(write):
    with pytest.raises(ConfigError, match="single quotes"):
        load(write('archive = "C:\\data"\n'))


def test_a_file_in_another_encoding_is_refused_and_a_byte_order_mark_is_not(tmp_path):
    path = tmp_path / "carbonmap.toml"
    path.write_bytes("# 会泽县\n".encode("gbk"))
    with pytest.raises(ConfigError, match="UTF-8"):
        load(path)
    path.write_bytes("archive = 'x'".encode("utf-8-sig"))
    assert load(path).archive == tmp_path / "x"


def test_a_file_that_is_not_there_is_missing_input(tmp_path):
    with pytest.raises(MissingInput, match="carbonmap init"):
        load(tmp_path / "carbonmap.toml")


def test_relative_paths_start_at_the_files_folder(write, tmp_path):
    project = load(
        write(SOURCES + "[inventory]\npath = 'in/stands.shp'\n[region.huize]\nboundary = 'h.gpkg'")
    )
    assert project.archive == tmp_path / "archive"
    assert project.inventory.path == tmp_path / "in" / "stands.shp"
    assert project.region["huize"].boundary == tmp_path / "h.gpkg"


def test_a_boundary_takes_the_place_of_a_built_in_box_and_keeps_its_lattice(write):
    huize = load(write("[region.huize]\nboundary = 'huize.gpkg'\n")).region["huize"]
    built_in = load(write("")).region["huize"]
    assert (built_in.is_box, huize.is_box) == (True, False)
    assert (huize.crs, huize.pixel_m) == (built_in.crs, built_in.pixel_m)
    assert huize.bounds is None


@pytest.mark.parametrize(
    ("override", "read", "value"),
    [
        ("model.seed=7", lambda p: p.model.seed, 7),
        ("model.kind=svr", lambda p: p.model.kind, "svr"),
        ("model.kind = 'svr'", lambda p: p.model.kind, "svr"),
        ("labels.min_coverage=1", lambda p: p.labels.min_coverage, 1.0),
        ("inventory.group_fields=['乡','b']", lambda p: p.inventory.group_fields, ("乡", "b")),
        ("inventory.id_field=2015-08-18", lambda p: p.inventory.id_field, "2015-08-18"),
        ("inventory.id_field=a=b", lambda p: p.inventory.id_field, "a=b"),
        ("region.zion.pixel_m=15", lambda p: p.region["zion"].pixel_m, 15.0),
        ("output.threads=2", lambda p: p.output.threads, 2),
        ("region.'会泽'={crs='EPSG:32648',pixel_m=1,boundary='b'}", lambda p: len(p.region), 4),
    ],
)
def test_an_override_sets_one_value_and_leaves_the_rest(write, override, read, value):
    path = write(SOURCES)
    assert read(load(path, [override])) == value
    assert load(path, [override]).archive == load(path).archive


@pytest.mark.parametrize("override", ["seed", "=3", "a b=3", "model.seed\n.x=3", ""])
def test_an_override_that_is_none_is_refused(override):
    with pytest.raises(ConfigError, match="is not key=value"):
        load(None, [override])


def test_an_override_below_a_value_is_refused(write):
    with pytest.raises(ConfigError, match="'archive' is a value"):
        load(write("archive = 'a'"), ["archive.x=1"])


def test_a_value_cannot_smuggle_in_other_keys():
    project = load(None, ["inventory.id_field=1\nvolume_field = 2"])
    assert project.inventory.volume_field is None
    assert project.inventory.id_field == "1\nvolume_field = 2"


def test_an_option_replaces_a_setting_under_the_files_rules():
    labels = config.changed(Labels(), monte_carlo=900, min_coverage=None)
    assert labels == Labels(monte_carlo=900)
    with pytest.raises(ConfigError, match="options: monte_carlo is -1"):
        config.changed(labels, monte_carlo=-1)
    with pytest.raises(ConfigError, match="options: style_range_mg_c_ha is"):
        config.changed(Output(), style_range_mg_c_ha=(3.0, 1.0))
    with pytest.raises(ConfigError, match="options: min_ndvi is 2"):
        config.changed(Threshold(), min_ndvi=2.0)


def test_every_kind_of_model_has_its_recipe():
    assert set(KINDS) == set(RECIPES) | set(NETWORKS)
    assert not set(RECIPES) & set(NETWORKS)


def test_a_models_features_are_its_specs():
    model = Model(inputs=("canopy-height", "image"), radii=(3,), kind="ols")
    assert model.features == FeatureSpec(inputs=("image", "canopy-height"), radii=(3,))


def test_a_region_is_found_by_name_or_by_default(write):
    project = load(write("default_region = 'huize'"))
    assert project.find_region() is project.region["huize"]
    assert project.find_region("yunnan").name == "yunnan"
    with pytest.raises(ConfigError, match="did you mean 'yunnan'"):
        project.find_region("yunan")
    with pytest.raises(ConfigError, match=r"no default.*valid: huize, yunnan"):
        load(write("")).find_region()


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        load().model.seed = 3


# Round trip: any project that can be written in TOML survives dump and load.

names = st.from_regex(r"[a-zA-Z0-9_会泽é][a-z会9_-]{0,8}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
paths = st.from_regex(r"/[a-z 你'\"\\]{1,9}/[a-z0-9]{1,5}", fullmatch=True)
numbers = st.floats(allow_nan=False, allow_infinity=False)
corners = st.floats(-1e6, 1e6)


def own_profile(text, number):
    """A built-in profile with another description and another factor."""
    table = config.builtin("profiles")["ipcc"]
    table["description"] = text
    stratum = next(iter(table["strata"].values()))
    stratum["carbon_fraction"] |= {"value": abs(number), "source": text}
    return table


@st.composite
def regions(draw, name):
    table = {
        "name": name,
        "crs": draw(st.sampled_from(["EPSG:32648", "EPSG:4513"])),
        "pixel_m": draw(st.floats(0.1, 100)),
        "anchor": (draw(numbers), draw(numbers)),
    }
    if draw(st.booleans()):
        left, bottom = draw(corners), draw(corners)
        table["bounds"] = (left, bottom, left + draw(st.floats(200, 1e6)), bottom + 333.3)
        table["bounds_crs"] = draw(st.none() | st.just("EPSG:32647"))
    else:
        table["boundary"] = config.Path(draw(paths))
        table["boundary_layer"] = draw(st.none() | texts)
        table["boundary_crs"] = draw(st.none() | st.just("EPSG:4490"))
    return Region(**table)


@st.composite
def projects(draw):
    optional = st.none() | texts
    region = dict(load().region) | {n: draw(regions(n)) for n in draw(st.sets(names, max_size=3))}
    return Project(
        region=region,
        archive=config.Path(draw(paths)),
        default_region=draw(st.sampled_from([None, *region])),
        inventory=Inventory(
            path=draw(st.none() | paths.map(config.Path)),
            volume_field=draw(optional),
            species_field=draw(optional),
            group_fields=tuple(draw(st.lists(texts, max_size=3))),
            encoding=draw(st.sampled_from([None, "GBK", "utf-8"])),
        ),
        labels=Labels(
            min_coverage=draw(st.floats(0.01, 1)),
            monte_carlo=draw(st.just(0) | st.integers(100, 10**9)),
        ),
        profile=draw(st.dictionaries(texts, st.builds(own_profile, texts, numbers), max_size=2)),
        model=Model(
            seed=draw(st.integers(0, 2**62)),
            inputs=tuple(draw(st.lists(st.sampled_from(list(INPUTS)), min_size=1))),
            radii=tuple(draw(st.lists(st.integers(1, 9), max_size=3))),
            split=SplitSpec(block_m=draw(st.floats(1, 1e5)), seed=draw(st.integers(0, 9))),
        ),
        output=Output(threads=draw(st.none() | st.integers(1, 64))),
    )


@settings(max_examples=60, deadline=None)
@given(project=projects())
def test_what_print_config_shows_loads_back_to_the_same_project(project, tmp_path_factory):
    path = tmp_path_factory.mktemp("project") / "carbonmap.toml"
    path.write_text(dump(project), encoding="utf-8", newline="")
    assert load(path) == project


def test_a_built_in_crs_is_shown_by_its_name():
    assert dump(load()).count('crs = "china-albers"') == 2


# The template.

KEY = re.compile(r"^# (\w+ = )", re.MULTILINE)


@pytest.mark.parametrize("name", ["huize", "zion"])
def test_the_template_loads_to_the_region_it_was_written_for(write, name):
    region = load(write(SOURCES)).region[name]
    project = load(write(template(region), "new.toml"))
    assert project.find_region() == region
    assert (project.inventory, project.labels, project.model) == (Inventory(), Labels(), Model())


def test_every_commented_line_of_the_template_may_be_uncommented(write):
    region = dataclasses.replace(
        load().region["huize"], bounds=None, bounds_crs=None, boundary=config.Path("/b.gpkg")
    )
    project = load(write(KEY.sub(r"\1", template(region))))
    assert project.inventory.encoding == "GBK"
    assert project.find_region() == region


def test_the_templates_examples_are_the_defaults(write):
    """But for the inventory's, which has none, the threads, and what is none by default."""
    region = dataclasses.replace(
        load().region["huize"], bounds=None, bounds_crs=None, boundary=config.Path("/b.gpkg")
    )
    project = load(write(KEY.sub(r"\1", template(region))))
    output = dataclasses.replace(project.output, threads=None)
    training = dataclasses.replace(
        project.model.training, minutes=None, patience=None, learning_rate=None
    )
    model = dataclasses.replace(project.model, training=training)
    assert (project.labels, model, output) == (Labels(), Model(), Output())


def test_the_template_names_every_setting():
    keys = set(re.findall(r"^(?:# )?(\w+) = ", template(load().region["huize"]), re.MULTILINE))
    fields = {
        f.name
        for kind in (Inventory, Labels, Model, SplitSpec, Training, Output)
        for f in dataclasses.fields(kind)
    }
    assert fields - keys == {"split", "network", "diffusion", "training"}  # tables


# Regions.


def test_the_built_in_crs_is_the_papers_albers_and_equal_area():
    grid = region_grid(load().region["yunnan"])
    assert grid.equal_area
    proj = config.builtin("regions")["crs"]["china-albers"]
    conversion = region_crs_parameters(proj)
    assert conversion == {"lat_0": 0, "lon_0": 105, "lat_1": 25, "lat_2": 47, "x": 0, "y": 0}


def region_crs_parameters(wkt):
    keys = {
        "Latitude of false origin": "lat_0",
        "Longitude of false origin": "lon_0",
        "Latitude of 1st standard parallel": "lat_1",
        "Latitude of 2nd standard parallel": "lat_2",
        "Easting at false origin": "x",
        "Northing at false origin": "y",
    }
    found = re.findall(r'PARAMETER\["([^"]+)",(\d+)', wkt)
    return {keys[name]: int(value) for name, value in found}


def box_area(west, south, east, north):
    """Area between two meridians and two parallels of WGS 84, m² (Snyder 1987, eq. 3-12)."""
    a, f = 6378137.0, 1 / 298.257223563
    e = math.sqrt(f * (2 - f))

    def zone(latitude):
        s = math.sin(math.radians(latitude))
        return s / (1 - (e * s) ** 2) + math.atanh(e * s) / e

    return a**2 * (1 - e**2) / 2 * math.radians(east - west) * (zone(north) - zone(south))


@pytest.mark.parametrize("name", ["huize", "yunnan"])
def test_a_built_in_region_holds_its_box_and_not_much_more(name):
    region = load().region[name]
    grid = region_grid(region)
    area = box_area(*region.bounds)
    assert (grid.pixel_m, grid.anchor) == (16.0, (0.0, 0.0))
    assert area < grid.size * 256 < 1.1 * area
    west, south, east, north = grid.wgs84_bounds
    assert west <= region.bounds[0]
    assert south <= region.bounds[1]
    assert east >= region.bounds[2]
    assert north >= region.bounds[3]


def test_yunnans_box_is_the_3_1_billion_pixels_of_the_method():
    assert box_area(*load().region["yunnan"].bounds) / 256 == pytest.approx(3.1e9, rel=0.02)


def test_a_countys_pixels_are_its_provinces_pixels():
    county, province = (region_grid(load().region[n]) for n in ("huize", "yunnan"))
    rows, cols = province.roi_of(county)
    assert province[rows, cols] == county


def test_a_region_with_a_boundary_takes_its_grid_from_the_outline(write):
    huize = load(write("[region.huize]\nboundary = 'huize.gpkg'\n")).region["huize"]
    assert region_grid(huize, (0.0, 0.0, 33.0, 15.0)).shape == (1, 3)
    with pytest.raises(GridError, match=r"huize\.gpkg"):
        region_grid(huize)


def test_the_built_in_carbon_profiles_and_the_projects_own_are_handed_on(write):
    mine = to_toml({"profile": {"mine": own_profile("my own", 0.5)}})
    tables = config.profile_tables(load(write(mine)))
    assert {"stock-expansion", "ipcc", "mine"} <= set(tables)


def test_reading_a_built_in_file_cannot_change_it():
    config.builtin("regions")["region"].clear()
    assert "huize" in load().region


def test_a_region_made_from_options_is_the_one_that_the_file_would_give(write):
    table = {"crs": "china-albers", "pixel_m": 16, "bounds": [0, 0, 160, 320]}
    text = "[region.x]\ncrs = 'china-albers'\npixel_m = 16\nbounds = [0, 0, 160, 320]\n"
    assert config.region("x", table) == load(write(text)).region["x"]
    assert config.crs_text("china-albers") == config.region("x", table).crs
    with pytest.raises(ConfigError, match=r"region\.x\.pixel_m is -1"):
        config.region("x", table | {"pixel_m": -1})


def test_every_profile_of_a_project_is_parsed(write):
    mine = to_toml({"profile": {"mine": own_profile("my own", 0.5)}})
    assert {"stock-expansion", "ipcc", "mine"} <= set(config.profiles(load(write(mine))))


def test_a_pipeline_is_a_list_of_commands(write):
    steps = [["simulate", "--size", "160"], ["predict"]]
    text = "".join(f"[[step]]\nrun = {step}\n" for step in steps)
    assert config.recipe(write(text, "demo.toml")) == steps


def test_a_pipeline_finds_what_lies_beside_it(write):
    path = write('[[step]]\nrun = ["predict", "--model", "{recipe}/model"]', "demo.toml")
    assert config.recipe(path) == [["predict", "--model", f"{path.parent.as_posix()}/model"]]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "step = 3",
        "[[step]]\nrun = []",
        "[[step]]\nrun = 'predict'",
        "[[step]]\nrun = ['a', 3]",
        "[[step]]\nrun = ['a']\nruns = ['b']",
    ],
)
def test_a_pipeline_that_is_none_is_refused_by_its_name(write, text):
    with pytest.raises(ConfigError, match=r"demo\.toml: "):
        config.recipe(write(text, "demo.toml"))
