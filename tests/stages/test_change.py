"""`calibrate --change` and `change` of a small county: maps that are a difference, and its sums."""

import csv
import json
import shutil

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely

from carbonmap.change import GAIN, LOSS, NONE, UNKNOWN, ChangeError
from carbonmap.lazy import open_stack
from carbonmap.stages import areas as areas_
from carbonmap.stages import calibrate_change, common
from carbonmap.stages import change as change_stage
from tests.conftest import FIELDS, MAP, SIZE, SPLIT, Folder, smaller_squares

LATER = MAP.replace("2020-11", "2025-11")

STEM = "demo_2020-11_2025-11_carbon_change"


def image(place, folder, day, *more):
    bands = ",".join(
        f"{band}={folder}/image_{day}_{band}.tif" for band in ("blue", "green", "red", "nir")
    )
    place.run("ingest", "image", "--bands", bands, "--date", day, "--scale", "1e-4", *more)


@pytest.fixture(scope="session")
def calibrated(labelled, tmp_path_factory):
    """The county and the same five years on, mapped and calibrated. Do not write into it."""
    path = tmp_path_factory.mktemp("calibrated") / "project"
    shutil.copytree(labelled.path, path)
    place = Folder(path)
    place.run("simulate", "later", "--size", SIZE, "--years-later", "5", "--felled", "0.2")
    image(place, "later", "2025-11-15")
    image(place, "county", "2020-08-15")
    place.run("train", "--model", "ols", "--dates", "2020-11", *SPLIT, "-o", "models/ols")
    place.run(
        "predict", "--model", "models/ols", "--dates", "2020-08,2020-11,2025-11", "-o", "maps"
    )
    with pytest.MonkeyPatch.context() as patch:
        smaller_squares(patch)
        place.run("calibrate", "--change", "--model", "models/ols", "--dates", "2020-11", *SPLIT)
    return place


@pytest.fixture
def pair(calibrated, tmp_path, monkeypatch):
    smaller_squares(monkeypatch)
    shutil.copytree(calibrated.path, tmp_path / "pair")
    return Folder(tmp_path / "pair")


def change(place, *words, before=MAP, after=LATER, out="change", code=0):
    place.run("change", f"maps/{before}", f"maps/{after}", *words, "-o", out, code=code or None)
    if code:
        return None
    return place.json(out, "change.json")["report"]


def refused(place, capsys, *words, saying, **which):
    capsys.readouterr()
    change(place, *words, out="refused", code=1, **which)
    assert saying in capsys.readouterr().err
    assert not (place.path / "refused").exists()


def raster(place, *parts):
    with rasterio.open(place.path.joinpath(*parts)) as source:
        return source.read(1)


def area_ha(place):
    with rasterio.open(place.path / "maps" / MAP) as source:
        return abs(source.transform.a * source.transform.e) / 1e4


def test_the_maps_are_the_difference_its_deviation_and_where_it_is_significant(pair):
    report = change(pair)
    first, last = (raster(pair, "maps", name).astype(np.float64) for name in (MAP, LATER))
    mapped, sd, code = (
        raster(pair, "change", f"{STEM}{end}.tif") for end in ("", "_sd", "_significant")
    )
    np.testing.assert_array_equal(mapped, (last - first).astype(np.float32))
    error = ChangeError.from_json(report["error"])
    np.testing.assert_array_equal(sd, error.deviation(first, last).astype(np.float32))
    np.testing.assert_array_equal(code, error.significant(first, last))
    assert {NONE, LOSS} <= set(np.unique(code).tolist())
    assert set(np.unique(code).tolist()) <= {NONE, LOSS, GAIN, UNKNOWN}
    with rasterio.open(pair.path / "change" / f"{STEM}.tif") as source:
        assert source.units == ("Mg C ha-1",)
        assert "2020-11 to 2025-11" in source.tags(1)["long_name"]


def test_sums_are_those_of_the_maps_and_areas_add_up(pair):
    left, bottom, right, top = rasterio.open(pair.path / "maps" / MAP).bounds
    middle = (left + right) / 2
    halves = [shapely.box(left, bottom, middle, top), shapely.box(middle, bottom, right, top)]
    crs = rasterio.open(pair.path / "maps" / MAP).crs
    gpd.GeoDataFrame({"NAME": ["west", "east"]}, geometry=halves, crs=crs).to_file(
        pair.path / "areas.gpkg"
    )
    report = change(pair, "--areas", "areas.gpkg", "--area-field", "NAME")
    whole, *parts = report["areas"]
    first, last = (raster(pair, "maps", name).astype(np.float64) for name in (MAP, LATER))
    code = raster(pair, "change", f"{STEM}_significant.tif")
    both, each = np.isfinite(first + last), area_ha(pair)
    assert whole["before_t_c"] == pytest.approx(first[both].sum() * each)
    assert whole["after_t_c"] == pytest.approx(last[both].sum() * each)
    own = whole["pools"]["total"]
    assert own["t_c"] == pytest.approx(whole["after_t_c"] - whole["before_t_c"])
    assert own["t_co2"] == pytest.approx(own["t_c"] * 44 / 12)
    half = np.sqrt(sum(np.square(list(own["half_t_c"].values()))))
    assert own["high_95_t_c"] - own["t_c"] == pytest.approx(half)
    assert own["t_c"] - own["low_95_t_c"] == pytest.approx(half)
    lost = whole["significant"]["loss"]
    assert lost["ha"] == pytest.approx((code == LOSS).sum() * each)
    assert lost["t_c"] == pytest.approx(((last - first)[code == LOSS]).sum() * each)
    assert lost["t_c"] < 0
    for key in ("before_t_c", "after_t_c", "mapped_ha"):
        assert sum(part[key] for part in parts) == pytest.approx(whole[key], rel=1e-6)
    pools = [pool for name, pool in whole["pools"].items() if name != "total"]
    assert sum(pool["t_c"] for pool in pools) == pytest.approx(own["t_c"])
    assert any("5 % counts as significant" in warning for warning in report["warnings"])
    for part in parts:
        assert part["pools"]["total"]["half_t_c"]["chance"] < own["half_t_c"]["chance"]


def test_the_table_says_what_the_report_says(pair):
    whole = change(pair)["areas"][0]
    with (pair.path / "change" / "change.csv").open(encoding="utf-8-sig", newline="") as file:
        (row,) = csv.DictReader(file)
    own = whole["pools"]["total"]
    for name, want in {
        "change_t_c": own["t_c"],
        "change_low_95_t_c": own["low_95_t_c"],
        "half_chance_t_c": own["half_t_c"]["chance"],
        "loss_ha": whole["significant"]["loss"]["ha"],
        "gain_t_c": whole["significant"]["gain"]["t_c"],
        "before_t_c": whole["before_t_c"],
    }.items():
        assert float(row[name]) == pytest.approx(want, rel=1e-5), name
    assert (row["before"], row["after"]) == ("2020-11", "2025-11")


def test_nothing_depends_on_how_the_map_is_cut(pair, monkeypatch):
    one = change(pair)
    files = pair.products("change")
    for module in (areas_, common):
        monkeypatch.setattr(module, "TILE_PX", 48)
    other = change(pair, out="again")
    again = pair.products("again")
    for name in files:
        if name.endswith(".tif"):
            assert files[name] == again[name], name
    flat = [json.dumps(r["areas"], sort_keys=True) for r in (one, other)]
    a, b = (np.array(list(_numbers(json.loads(text)))) for text in flat)
    np.testing.assert_allclose(a, b, rtol=1e-9)


def _numbers(value):
    if isinstance(value, dict):
        for part in value.values():
            yield from _numbers(part)
    elif isinstance(value, list):
        for part in value:
            yield from _numbers(part)
    elif isinstance(value, float):
        yield value


def test_a_second_run_finds_all_done(pair, capsys):
    change(pair)
    before = pair.products("change")
    capsys.readouterr()
    change(pair)
    assert "is up to date" in capsys.readouterr().out
    assert pair.products("change") == before


def test_dates_of_one_year_are_a_season(pair, capsys):
    report = change(pair, before=MAP.replace("2020-11", "2020-08"), after=MAP)
    out = capsys.readouterr().out
    assert report["season"]
    assert "seasonal difference, 2020-08 to 2020-11" in out
    assert any("lie within one year" in warning for warning in report["warnings"])
    with rasterio.open(pair.path / "change" / "demo_2020-08_2020-11_carbon_change.tif") as source:
        assert source.tags(1)["long_name"].startswith("seasonal difference")
        unknown = np.isnan(source.read(1))
    code = raster(pair, "change", "demo_2020-08_2020-11_carbon_change_significant.tif")
    assert np.array_equal(code == UNKNOWN, unknown)
    assert 0.5 < unknown.mean() < 0.7  # clouds of August
    assert not change(pair, out="years")["season"]


def test_dates_of_other_seasons_and_years_are_said_so(pair):
    report = change(pair, before=MAP.replace("2020-11", "2020-08"))
    assert any("different seasons" in warning for warning in report["warnings"])
    report = change(pair, out="same")
    assert not any("season" in warning for warning in report["warnings"])


def test_a_year_is_twelve_months_and_not_a_calendars():
    def marks(*dates):
        return [{"report": {"date": date}} for date in dates]

    assert change_stage.is_season(marks("2020-12", "2021-01"))
    assert change_stage.is_season(marks("2020-11", "2021-10"))
    assert not change_stage.is_season(marks("2020-11", "2021-11"))


def test_the_report_shows_a_change_of_its_maps_and_refuses_anothers(pair, capsys):
    whole = change(pair)["areas"][0]
    pair.run("report", "maps", "--change", "change", "-o", "report")
    text = (pair.path / "report" / "report.html").read_text(encoding="utf-8")
    assert "Change, 2020-11 to 2025-11" in text
    assert f"<td>{whole['pools']['total']['t_c']:+,.0f}</td>" in text
    assert f"<td>{whole['significant']['loss']['ha']:,.0f}</td>" in text
    assert text.count("data:image/png") == 3 + 2
    assert "err by 3.0% of themselves" in text
    capsys.readouterr()
    pair.run("report", f"maps/{MAP}", "--change", "change", "-o", "refused", code=1)
    assert "not among the maps" in capsys.readouterr().err


def test_what_is_no_pair_is_refused(pair, capsys):
    refused(pair, capsys, before=LATER, after=MAP, saying="the earlier one first")
    refused(pair, capsys, after=MAP, saying="the earlier one first")
    pair.run(
        "train",
        "--model",
        "ols",
        "--dates",
        "2020-11",
        "--inputs",
        "image",
        *SPLIT,
        "-o",
        "models/b",
    )
    pair.run("predict", "--model", "models/b", "--dates", "2025-11", "-o", "other")
    capsys.readouterr()
    pair.run("change", f"maps/{MAP}", f"other/{LATER}", "-o", "refused", code=1)
    assert "are by different models" in capsys.readouterr().err
    pair.run("build-labels", "county/inventory.shp", *FIELDS, "--year", "2019", "-o", "others")
    refused(pair, capsys, "--labels", "others", saying="not those that model")
    pair.run("ingest", "dem", "county/dem.tif", "--resampling", "nearest", "--overwrite")
    pair.run("predict", "--model", "models/ols", "--dates", "2025-11", "-o", "moved")
    capsys.readouterr()
    pair.run("change", f"maps/{MAP}", f"moved/{LATER}", "-o", "refused", code=1)
    assert "different elevation layers" in capsys.readouterr().err
    pair.run("change", f"maps/{MAP}", "labels/carbon_density.tif", "-o", "refused", code=1)
    assert "`carbonmap predict` wrote" in capsys.readouterr().err


def test_a_model_that_was_not_calibrated_is_refused_with_the_command(pair, capsys):
    (pair.path / "models" / "ols" / "change.json").unlink()
    refused(pair, capsys, saying="carbonmap calibrate --change --model")


def test_what_was_kept_and_cannot_be_understood_is_named(pair, capsys):
    mark = pair.path / "models" / "ols" / "change.json"
    held = json.loads(mark.read_text(encoding="utf-8"))
    for key in ("error", "light_error", "layers", "region", "shown_of_change"):
        part = {k: v for k, v in held["report"].items() if k != key}
        mark.write_text(json.dumps(held | {"report": part}), encoding="utf-8")
        refused(pair, capsys, saying="damaged or another version's")
    for bad in (held | {"origin": []}, {"report": held["report"]}):
        mark.write_text(json.dumps(bad), encoding="utf-8")
        refused(pair, capsys, saying="change.json")
    part = held["report"] | {"light_error": float("nan")}
    mark.write_text(json.dumps(held | {"report": part}), encoding="utf-8")
    refused(pair, capsys, saying="damaged or another version's")
    mark.write_text(mark.read_text(encoding="utf-8")[:900], encoding="utf-8")
    refused(pair, capsys, saying="change.json")


def test_more_light_makes_less_of_a_change_significant(pair):
    found = []
    for error in ("0", "0.02", "0.1"):
        pair.run(
            "calibrate", "--change", "--model", "models/ols", "--dates", "2020-11", *SPLIT,
            "--light-error", error, "--overwrite",
        )  # fmt: skip
        found.append(pair.json("models", "ols", "change.json")["report"]["still_rms_mg_c_ha"])
    assert found[0] < found[1] < found[2]


def test_calibrating_again_does_nothing_and_a_stray_option_is_refused(pair, capsys):
    words = ("calibrate", "--model", "models/ols", "--dates", "2020-11", *SPLIT)
    pair.run(*words, "--change")
    assert "is up to date" in capsys.readouterr().out
    pair.run(*words, "--light-error", "0.1", code=1)
    assert "--light-error is of --change" in capsys.readouterr().err
    for bad in ("-1", "nan", "inf", "3"):
        pair.run(*words, "--change", "--light-error", bad, "--overwrite", code=1)
        assert "must lie from 0 to 0.5" in capsys.readouterr().err
    pair.run(*words[:3], "--dates", "2025-11", *SPLIT, "--change", code=1)
    assert "did not learn from 2025-11-15" in capsys.readouterr().err


def test_land_that_stays_differs_by_what_the_light_does_to_each_band(pair, monkeypatch):
    """Of a model that answers bands linearly, and of an image without noise: s² = Σ (e g ρ)²."""
    gains = {"blue": 90.0, "green": -250.0, "red": 400.0, "nir": 200.0}

    def linear(model, layers, grid, *_):
        halo = model.halo
        inner = tuple(slice(halo, halo + n) for n in grid.shape)
        return sum(gain * layers[band][inner] for band, gain in gains.items())[None]

    monkeypatch.setattr(calibrate_change, "maps", linear)
    monkeypatch.setattr(calibrate_change, "grain", lambda *_: np.zeros(3))
    words = ("--model", "models/ols", "--dates", "2020-11", *SPLIT, "--light-error", "0.02")
    pair.run("calibrate", "--change", *words, "--overwrite")
    told = pair.json("models", "ols", "change.json")["report"]
    stack = open_stack(pair.path / "archive", "demo", ["2020-11"])
    image = stack["image"].isel(time=0)
    square = sum(
        (0.02 * gain * image.sel(band=band).values.astype(np.float64)) ** 2
        for band, gain in gains.items()
    )
    split = gpd.read_parquet(pair.path / "models" / "ols" / "split.parquet")
    held = split[split["role"] == "validation"]
    label = raster(pair, "labels", "carbon_density.tif")
    share = raster(pair, "labels", "coverage.tif")
    stand = raster(pair, "labels", "stand.tif").astype(int) - 1
    used = np.isin(stand, held.index) & (share >= 0.9) & (share <= 1.001) & np.isfinite(label)
    assert told["still_rms_mg_c_ha"] == pytest.approx(np.sqrt(square[used].mean()), rel=1e-3)


def test_maps_of_draws_are_calibrated_by_their_draws_and_refused_if_drawn_otherwise(
    drawn, monkeypatch, capsys
):
    smaller_squares(monkeypatch)
    drawn.run("simulate", "later", "--size", SIZE, "--years-later", "5")
    image(drawn, "later", "2025-11-15")
    predict = ("predict", "--model", "models/iidm", "--dates")
    drawn.run(*predict, "2020-11,2025-11", "-o", "d")
    drawn.run("calibrate", "--change", "--model", "models/iidm", "--dates", "2020-11", *SPLIT)
    assert (drawn.path / "models" / "iidm" / "change_2_draws_2_steps.json").is_file()
    split = drawn.path / "models" / "ols" / "split.parquet"
    shutil.copy(split, drawn.path / "models" / "iidm" / split.name)
    drawn.run("change", f"d/{MAP}", f"d/{LATER}", "-o", "change")
    drawn.run(*predict, "2025-11", "--samples", "3", "-o", "e")
    capsys.readouterr()
    drawn.run("change", f"d/{MAP}", f"e/{LATER}", "-o", "refused", code=1)
    assert "were drawn differently" in capsys.readouterr().err


def test_too_little_land_for_simulated_change_is_refused(copy, capsys, monkeypatch):
    monkeypatch.setattr(calibrate_change, "LEAST_MOVED", 100_000)
    words = ("--model", "models/ols", "--dates", "2020-11", *SPLIT)
    copy.run("calibrate", "--change", *words, code=1)
    assert "too little land is held out" in capsys.readouterr().err
    assert not (copy.path / "models" / "ols" / "change.json").exists()


def test_a_class_raster_of_measurements_leaves_the_folder_as_it_was(pair, capsys):
    with rasterio.open(pair.path / "maps" / MAP) as source:
        profile = source.profile | {"driver": "GTiff", "dtype": "int32", "nodata": None}
    with rasterio.open(pair.path / "many.tif", "w", **profile) as file:
        file.write(np.arange(SIZE * SIZE, dtype=np.int32).reshape(SIZE, SIZE), 1)
    pair.run("change", f"maps/{MAP}", f"maps/{LATER}", "--classes", "many.tif", code=1)
    assert "not a class map" in capsys.readouterr().err
    change(pair)


def test_areas_beyond_the_map_are_named_and_parts_told_apart(pair):
    left, bottom, right, top = rasterio.open(pair.path / "maps" / MAP).bounds
    wide = right - left
    boxes = [
        shapely.box(left, bottom, right, top),
        shapely.box(right - wide / 4, bottom, right + wide * 3 / 4, top),
        shapely.box(right + wide, bottom, right + 2 * wide, top),
    ]
    crs = rasterio.open(pair.path / "maps" / MAP).crs
    gpd.GeoDataFrame({"NAME": ["in", "half", "out"]}, geometry=boxes, crs=crs).to_file(
        pair.path / "areas.gpkg"
    )
    report = change(pair, "--areas", "areas.gpkg", "--area-field", "NAME")
    told = " ".join(report["warnings"])
    assert "beyond the map, and in no line: out" in told
    assert "half (75.0%, 75.0% beyond the map)" in told
    assert [one["name"] for one in report["areas"]] == ["whole map", "in", "half"]


def test_an_area_without_a_value_has_no_figures_and_not_zero(pair, capsys):
    """August's clouds hide part of the land."""
    august = MAP.replace("2020-11", "2020-08")
    hidden = np.isnan(raster(pair, "maps", august))
    rows, cols = (slice(k * 20, k * 20 + 20) for k in divmod(int(squared(hidden).argmax()), 8))
    assert hidden[rows, cols].all()
    with rasterio.open(pair.path / "maps" / MAP) as source:
        box = rasterio.windows.bounds(
            rasterio.windows.Window.from_slices(rows, cols), source.transform
        )
        crs = source.crs
    gpd.GeoDataFrame({"NAME": ["cloud"]}, geometry=[shapely.box(*box)], crs=crs).to_file(
        pair.path / "areas.gpkg"
    )
    capsys.readouterr()
    areas = ("--areas", "areas.gpkg", "--area-field", "NAME")
    change(pair, *areas, before=august, after=MAP)
    assert "cloud: no value on both maps" in capsys.readouterr().out
    with (pair.path / "change" / "change.csv").open(encoding="utf-8-sig", newline="") as file:
        _, cloud = csv.DictReader(file)
    assert cloud["change_t_c"] == cloud["before_t_c"] == ""
    assert float(cloud["mapped_ha"]) == 0


def squared(hidden):
    """Squares of 20 pixels all of which are hidden."""
    return hidden.reshape(8, 20, 8, 20).all((1, 3))
