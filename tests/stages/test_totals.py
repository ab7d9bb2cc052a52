"""`totals` of a small county: sums that agree with the map, and errors that are told."""

import csv
import json
import math

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from scipy import stats

from carbonmap.stages import areas as areas_
from tests.conftest import MAP, SPLIT, bands_of

AREAS = ("--areas", "areas.gpkg", "--area-field", "NAME")


def run(place, *words, out="totals"):
    """The report's areas by name."""
    place.run("totals", f"maps/{MAP}", *words, "-o", out)
    report = place.json(out, "totals.json")["report"]
    return {one["name"]: one for one in report["areas"]}, report["warnings"]


def flat(one):
    """The figures of all pools of an area."""
    total = one["pools"]["total"]
    return {key: value for key, value in total.items() if key != "half_t_c"} | total["half_t_c"]


def refused(place, capsys, *words, saying, path=f"maps/{MAP}"):
    capsys.readouterr()
    place.run("totals", path, *words, "-o", "refused", code=1)
    assert saying in capsys.readouterr().err
    assert not (place.path / "refused" / "totals.json").exists()
    assert not (place.path / "refused" / "totals.csv").exists()


def quarters(place, names=("西北", "东北", "西南", "东南"), path="areas.gpkg", shift=0.0):
    """Four rectangles that share the map out; shifted, some of each lies beyond it."""
    with rasterio.open(place.path / "maps" / MAP) as source:
        left, bottom, right, top = source.bounds
        crs = source.crs.to_wkt()
    x, y = left + 0.37 * (right - left) + 3.3, bottom + 0.61 * (top - bottom) + 1.7
    boxes = [
        shapely.box(left, y, x, top),
        shapely.box(x, y, right, top),
        shapely.box(left, bottom, x, y),
        shapely.box(x, bottom, right, y),
    ]
    boxes = [shapely.affinity.translate(box, shift) for box in boxes]
    gpd.GeoDataFrame({"NAME": list(names)}, geometry=boxes, crs=crs).to_file(place.path / path)


def class_raster(place, codes, path="classes.tif"):
    with rasterio.open(place.path / "maps" / MAP) as source:
        profile = {"crs": source.crs, "transform": source.transform, "dtype": "uint16", "count": 1}
    shape = {"height": codes.shape[0], "width": codes.shape[1]}
    with rasterio.open(place.path / path, "w", "GTiff", **profile, **shape) as target:
        target.write(codes.astype(np.uint16), 1)


def test_the_whole_maps_total_is_the_maps_own_and_its_parts_add_up(copy):
    quarters(copy)
    classes = np.add.outer(np.arange(160) // 40, np.arange(160) // 50) + 41
    class_raster(copy, classes)
    found, warnings = run(copy, *AREAS, "--classes", "classes.tif")
    whole = found["whole map"]
    own = copy.json("maps", MAP.replace(".tif", ".json"))["report"]
    assert whole["pools"]["total"]["t_c"] == pytest.approx(own["t_c"], rel=1e-12)
    assert whole["mapped_ha"] == pytest.approx(own["valid_pixels"]["count"] * 0.0256)
    for kind, names in (("area", "西北 东北 西南 东南"), ("class", "41 42 43 44 45 46 47")):
        some = [one for one in found.values() if one["kind"] == kind]
        assert [one["name"] for one in some] == names.split()
        for key in ("area_ha", "mapped_ha"):
            assert sum(one[key] for one in some) == pytest.approx(whole[key], rel=1e-6)
        carbon = sum(one["pools"]["total"]["t_c"] for one in some)
        assert carbon == pytest.approx(own["t_c"], rel=1e-6)
    assert all("beyond" not in text for text in warnings)


def test_pools_add_up_and_carry_their_own_factors(copy):
    whole = run(copy)[0]["whole map"]
    pools = whole["pools"]
    assert sum(one["t_c"] for name, one in pools.items() if name != "total") == pytest.approx(
        pools["total"]["t_c"]
    )
    labels = copy.json("labels", "labels.json")["report"]
    for name, one in pools.items():
        held = labels["totals"]["t_c"]
        assert one["t_c"] / pools["total"]["t_c"] == pytest.approx(held[name] / held["total"])
        half = one["half_t_c"]
        both = math.hypot(*half.values())
        assert one["half_width_percent"] == pytest.approx(100 * both / one["t_c"])
        assert one["high_95_t_c"] == pytest.approx(one["t_c"] + both)
        told = labels["uncertainty"]["approach_1"][name]["half_width_percent"]
        assert 0.5 * told < 100 * half["factors"] / one["t_c"] < told


def test_a_quarter_errs_by_more_of_its_carbon_than_the_whole_and_by_less_in_all(copy):
    quarters(copy)
    found, _ = run(copy, *AREAS)
    whole = found.pop("whole map")["pools"]["total"]
    for one in found.values():
        own = one["pools"]["total"]
        assert own["half_t_c"]["model"] < whole["half_t_c"]["model"]
        assert own["half_t_c"]["factors"] / own["t_c"] == pytest.approx(
            whole["half_t_c"]["factors"] / whole["t_c"]
        )
    errors = [one["pools"]["total"]["half_t_c"]["model"] for one in found.values()]
    assert math.hypot(*errors) <= 1.001 * whole["half_t_c"]["model"] <= 1.01 * sum(errors)


def test_nothing_depends_on_how_the_map_is_cut(copy, monkeypatch):
    quarters(copy)
    classes = np.arange(160)[:, None] // 60 + np.zeros((1, 160))
    class_raster(copy, classes)
    one, _ = run(copy, *AREAS, "--classes", "classes.tif")
    monkeypatch.setattr(areas_, "TILE_PX", 48)
    other, _ = run(copy, *AREAS, "--classes", "classes.tif", out="again")
    assert one.keys() == other.keys()
    for name, facts in one.items():
        got, want = flat(other[name]), flat(facts)
        assert got == pytest.approx(want, rel=1e-9)


def test_polygons_of_one_name_are_one_area_and_land_beyond_the_map_is_told(copy):
    quarters(copy, ("a", "b", "a", "b"), shift=640.0)
    found, warnings = run(copy, *AREAS)
    assert list(found) == ["whole map", "a", "b"]
    with rasterio.open(copy.path / "maps" / MAP) as source:
        width = (source.bounds.right - source.bounds.left) / 1000
        height = (source.bounds.top - source.bounds.bottom) / 1000
    assert found["a"]["area_ha"] + found["b"]["area_ha"] == pytest.approx(
        100 * width * height, rel=1e-6
    )
    assert found["a"]["mapped_ha"] + found["b"]["mapped_ha"] == pytest.approx(
        found["whole map"]["mapped_ha"] * (1 - 0.64 / width), rel=0.1
    )
    (told,) = warnings
    assert told.startswith("without value, and in no total: ")
    assert "b (" in told


def test_the_table_says_what_the_report_says(copy):
    quarters(copy, ("=1+1", "b", "c", "d"))
    found, _ = run(copy, *AREAS)
    text = (copy.path / "totals" / "totals.csv").read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["name"] for row in rows] == ["whole map", "'=1+1", "b", "c", "d"]
    for row, one in zip(rows, found.values(), strict=True):
        own = one["pools"]["total"]
        for key in ("t_c", "low_95_t_c", "high_95_t_co2"):
            assert float(row[key]) == pytest.approx(own[key], rel=1e-5)
        assert float(row["half_factors_t_c"]) == pytest.approx(own["half_t_c"]["factors"], rel=1e-5)
        assert float(row["trees_t_c"]) == pytest.approx(one["pools"]["trees"]["t_c"], rel=1e-5)


def test_a_second_run_finds_all_done_and_other_areas_are_no_update(copy, capsys):
    quarters(copy)
    run(copy, *AREAS)
    before = copy.products("totals")
    capsys.readouterr()
    run(copy, *AREAS)
    assert "is up to date" in capsys.readouterr().out
    assert copy.products("totals") == before
    quarters(copy, ("a", "b", "c", "d"), "other.gpkg")
    copy.run("totals", f"maps/{MAP}", "--areas", "other.gpkg", "--area-field", "NAME", code=1)
    assert "--overwrite" in capsys.readouterr().err
    assert copy.products("totals") == before


def test_a_map_of_another_day_is_told_apart(copy, capsys):
    """Its errors are another map's; of another model's map, they would say nothing."""
    mark = copy.path / "evaluation" / "evaluation.json"
    held = json.loads(mark.read_text(encoding="utf-8"))
    (facts,) = held["report"]["maps"].values()
    held["report"]["maps"] = {"demo_2020-02_carbon_density.tif": facts}
    held["origin"]["maps"] = {"demo_2020-02_carbon_density.tif": "0" * 64}
    mark.write_text(json.dumps(held), encoding="utf-8")
    _, warnings = run(copy)
    assert "errors were found on demo_2020-02_carbon_density.tif" in warnings[0]
    facts["model_sha256"] = "1" * 64
    mark.write_text(json.dumps(held), encoding="utf-8")
    refused(copy, capsys, saying="another model")
    held["report"]["maps"]["third.tif"] = facts
    mark.write_text(json.dumps(held), encoding="utf-8")
    refused(copy, capsys, saying="is of 2 maps and not of")


@pytest.mark.parametrize(
    ("value", "saying"),
    [
        (None, "too few pixels"),
        ({"nugget": 1}, "cannot be understood"),
        ("gone", "older carbonmap"),
    ],
)
def test_an_evaluation_that_tells_nothing_of_errors_is_refused(copy, capsys, value, saying):
    mark = copy.path / "evaluation" / "evaluation.json"
    held = json.loads(mark.read_text(encoding="utf-8"))
    (facts,) = held["report"]["maps"].values()
    if value == "gone":
        del facts["spatial_error"]
    else:
        facts["spatial_error"] = value
    mark.write_text(json.dumps(held), encoding="utf-8")
    refused(copy, capsys, saying=saying)


def test_bad_areas_and_classes_are_refused_by_name(copy, capsys):
    quarters(copy)
    refused(copy, capsys, "--areas", "areas.gpkg", saying="--area-field")
    refused(copy, capsys, "--area-field", "NAME", saying="--areas")
    refused(copy, capsys, "--areas", "areas.gpkg", "--area-field", "COUNTY", saying="COUNTY")
    quarters(copy, ("a", "", "c", "d"), "nameless.gpkg")
    refused(
        copy,
        capsys,
        "--areas",
        "nameless.gpkg",
        "--area-field",
        "NAME",
        saying="record 2 has no name",
    )
    quarters(copy, path="far.gpkg", shift=1e5)
    refused(
        copy, capsys, "--areas", "far.gpkg", "--area-field", "NAME", saying="nowhere on the map"
    )
    class_raster(copy, np.arange(160 * 160).reshape(160, 160))
    refused(copy, capsys, "--classes", "classes.tif", saying="not a class map")


@pytest.mark.parametrize("name", ["coverage", "carbon_density"])
def test_what_no_model_predicted_is_refused(copy, capsys, name):
    refused(copy, capsys, path=f"labels/{name}.tif", saying="`carbonmap predict` wrote")


def test_labels_of_another_profile_are_refused(copy, capsys):
    copy.run(
        "build-labels", "county/inventory.shp", "--volume-field", "HUO_LMGQXJ",
        "--set", "labels.profile=ipcc", "--species-field", "YOU_SHI_SZ", "-o", "ipcc", code=None,
    )  # fmt: skip
    refused(copy, capsys, "--labels", "ipcc", saying="profile")


@pytest.fixture
def sampled(copy):
    """The county mapped by a model for which 28 of 46 stands were kept aside."""
    aside = [*SPLIT, "--set", "model.split.reference_share=0.6"]
    copy.run("train", "--model", "ols", "--dates", "2020-11", *aside, "-o", "models/aside")
    copy.run(
        "predict", "--dates", "2020-11", "--model", "models/aside", "-o", "maps", "--overwrite"
    )
    copy.run("evaluate", "maps", "--truth", "labels", "--overwrite")
    return copy


def raster(place, *parts):
    with rasterio.open(place.path.joinpath(*parts)) as source:
        return source.read(1, masked=True).astype(float).filled(np.nan)


def test_stands_kept_aside_correct_what_was_not_learned_and_the_rest_is_known(sampled):
    """By hand from the rasters: the map's sum, what learned stands differ by, and unseen stands'
    area times the sample's ratio."""
    split = gpd.read_parquet(sampled.path / "models" / "aside" / "split.parquet")
    aside = np.flatnonzero(split["role"] == "reference")
    assert (len(aside), len(split)) == (28, 46)
    found, warnings = run(sampled)
    whole = found["whole map"]
    density, label = raster(sampled, "maps", MAP), raster(sampled, "labels", "carbon_density.tif")
    stand, share = (raster(sampled, "labels", f"{name}.tif") for name in ("stand", "coverage"))
    both = np.isfinite(density) & np.isfinite(label) & (share >= 0.9) & (stand > 0)
    learned = both & np.isin(stand, 1 + np.flatnonzero(split["role"] == "train"))
    area, differ = 0.0256, np.where(both, label - density, 0)
    kept = [both & (stand == row + 1) for row in aside]
    a = np.array([one.sum() * area for one in kept])
    d = np.array([differ[one].sum() * area for one in kept])
    unseen, ratio, held = (both & ~learned).sum() * area, d.sum() / a.sum(), a > 0
    want = np.nansum(density) * area + differ[learned].sum() * area + unseen * ratio
    assert whole["pools"]["total"]["t_c"] == pytest.approx(want, rel=1e-5)
    assert whole["map_t_c"] == pytest.approx(np.nansum(density) * area, rel=1e-6)
    assert (whole["estimator"], warnings) == ("model-assisted", [])
    n = int(held.sum())
    assert whole["sample"]["stands"] == n
    spread = math.sqrt(((d - ratio * a)[held] ** 2).sum() / (n - 1))
    half = unseen / a[held].mean() * spread * math.sqrt((1 - a.sum() / unseen) / n)
    half *= stats.t(n - 1).ppf(0.975)
    assert whole["pools"]["total"]["half_t_c"]["sampling"] == pytest.approx(half, rel=1e-4)


def test_a_map_of_a_day_that_the_model_did_not_learn_is_not_corrected(sampled):
    """Else the inventory's day would be every map's, and no change could show."""
    bands = bands_of("2020-11-15")
    sampled.run("ingest", "image", "--bands", bands, "--date", "2020-02-15", "--scale", "1e-4")
    sampled.run("predict", "--dates", "2020-02", "--model", "models/aside", "-o", "other")
    path = "other/" + MAP.replace("-11", "-02")
    sampled.run("totals", path, "-o", "totals")
    report = sampled.json("totals", "totals.json")["report"]
    assert report["areas"][0]["estimator"] == "model-dependent"
    assert "would take the change away" in " ".join(report["warnings"])


def test_where_few_stands_were_kept_aside_the_model_stands_alone(sampled, capsys):
    quarters(sampled)
    capsys.readouterr()
    found, _ = run(sampled, *AREAS)
    told = capsys.readouterr().out
    some = [found[name] for name in ("西北", "东北", "西南", "东南")]
    assert {one["estimator"] for one in some} == {"model-dependent"}
    assert all(one["map_t_c"] == one["pools"]["total"]["t_c"] for one in some)
    assert "model-assisted: " in told
    assert told.count("model-dependent") == 4
    text = (sampled.path / "totals" / "totals.csv").read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["estimator"] for row in rows] == ["model-assisted", *["model-dependent"] * 4]
    judged = sampled.json("evaluation", "evaluation.json")["report"]["maps"][MAP]
    assert judged["reference"]["pixels"] > 0


def test_the_sample_is_of_the_maps_own_model_and_labels(sampled, capsys):
    refused(sampled, capsys, "--model", "models/ols", saying="is not the one that made")
    (sampled.path / "models" / "aside").rename(sampled.path / "models" / "moved")
    _, (warning,) = run(sampled)
    assert "no stands kept aside can be looked for" in warning
    found, warnings = run(sampled, "--model", "models/moved", out="again")
    assert found["whole map"]["estimator"] == "model-assisted"
    assert warnings == []
