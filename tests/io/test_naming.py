"""Products are known by their names: which files are meant, and what heights are over."""

import re

import pytest

from carbonmap.errors import InputError, MissingInput
from carbonmap.io import naming

DEMS = [
    "AP_24748_FBD_F0520_RT1.dem.tif",
    "AP_24748_FBD_F0510_RT1.dem.tif",
    "AP_24748_FBD_F0500_RT1.dem.tif",
    "AP_19132_FBD_F0510_RT1.dem.tif",
]
"""Those of IIDM's table A1."""

ETH = "ETH_GlobalCanopyHeight_10m_2020_N24E102_Map.tif"


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_the_papers_files_are_known():
    for name in DEMS:
        product = naming.product_of(naming.Path(name))
        assert (product.kind, product.vertical) == ("dem", "ellipsoid")
    product = naming.product_of(naming.Path(ETH))
    assert (product.kind, product.vertical) == ("canopy-height", None)


@pytest.mark.parametrize("product", naming.PRODUCTS, ids=lambda p: p.name)
def test_every_products_example_is_that_product_and_no_other(product):
    fitting = [p for p in naming.PRODUCTS if p.pattern.fullmatch(product.example)]
    assert fitting == [product]
    assert naming.product_of(naming.Path(f"in/a/{product.example.upper()}")) is product


@pytest.mark.parametrize(
    "name",
    ["AP_24748_FBD_F0520_RT1_HH.tif", "AP_24748_FBD_F0520_RT1.inc_map.tif", "dem.tif",
     "my_AP_24748_FBD_F0520_RT1.dem.tif", ETH.replace("_Map", "_Map_SD"), "AP.dem.tif"],
)  # fmt: skip
def test_what_lies_beside_a_product_is_not_it(name):
    assert naming.product_of(naming.Path(name)) is None


def test_a_folder_gives_its_products_and_nothing_beside_them(tmp_path):
    touch(tmp_path, *(f"AP_{n[3:8]}/{n}" for n in DEMS), "AP_24748/AP_24748_FBD_F0520_RT1_HH.tif")
    touch(tmp_path, ETH, ETH.replace("_Map", "_Map_SD"), "notes.txt")
    touch(tmp_path, f".trash/{DEMS[0]}", f".{DEMS[0]}", f"canopy/{ETH.replace('N24', 'N27')}")
    dems = naming.find("dem", [tmp_path])
    assert [d.name for d in dems] == [DEMS[3], DEMS[2], DEMS[1], DEMS[0]]
    assert [c.name for c in naming.find("canopy-height", [tmp_path])] == [
        ETH,
        ETH.replace("N24", "N27"),
    ]


def test_files_that_are_named_are_taken_whatever_their_names_and_in_that_order(tmp_path):
    touch(tmp_path, "b.tif", "a.tif", f"more/{DEMS[0]}")
    named = [tmp_path / "b.tif", tmp_path / "more", tmp_path / "a.tif", tmp_path / "absent.tif"]
    found = naming.find("dem", named)
    assert [f.name for f in found] == ["b.tif", DEMS[0], "a.tif", "absent.tif"]


def test_a_folder_without_such_files_is_refused_with_the_names_looked_for(tmp_path):
    touch(tmp_path, "b.tif", ETH)
    with pytest.raises(MissingInput, match=re.escape(f"such as {DEMS[0]} or Copernicus_DSM")):
        naming.find("dem", [tmp_path])


@pytest.mark.parametrize(
    ("kind", "name", "match"),
    [
        ("canopy-height", ETH.replace("_Map", "_Map_SD"), f"standard deviation .* name {ETH} inst"),
        ("dem", ETH, "ETH's canopy height by its name; run `carbonmap ingest canopy-height`"),
        ("canopy-height", DEMS[0], "PALSAR DEM by its name; run `carbonmap ingest dem`"),
    ],
)
def test_a_file_of_another_kind_is_refused_by_its_name(tmp_path, kind, name, match):
    with pytest.raises(InputError, match=match):
        naming.find(kind, [tmp_path / name])


COPERNICUS = "Copernicus_DSM_COG_10_N26_00_E103_00_DEM.tif"


@pytest.mark.parametrize(
    ("names", "stated", "datum", "says"),
    [
        (DEMS, None, "ellipsoid", "heights over the ellipsoid, by the files' names"),
        ([COPERNICUS], None, "geoid", "heights over the geoid, by the files' names"),
        (["dem.tif"], None, None, None),
        (["dem.tif"], "geoid", "geoid", "heights over the geoid, as stated"),
        (DEMS, "ellipsoid", "ellipsoid", "heights over the ellipsoid, as stated"),
        ([*DEMS, "a.tif"], "ellipsoid", "ellipsoid", "heights over the ellipsoid, as stated"),
        (DEMS, "geoid", "geoid", "as stated, against what the files' names tell"),
        ([DEMS[0], COPERNICUS], "geoid", "geoid", "against what the files' names tell"),
    ],
)
def test_heights_are_over_what_is_stated_else_what_names_tell(names, stated, datum, says):
    got, note = naming.vertical("dem", [naming.Path(n) for n in names], stated)
    assert got == datum
    assert (note is None) if says is None else (says in note)


@pytest.mark.parametrize("other", [COPERNICUS, "dem.tif"])
def test_datums_that_differ_by_name_are_refused_until_one_is_stated(other):
    paths = [naming.Path(DEMS[0]), naming.Path(other)]
    with pytest.raises(InputError, match=r"one vertical datum.*AP_24748.*\(ellipsoid\).*--heights"):
        naming.vertical("dem", paths, None)


def test_trees_have_no_vertical_datum():
    assert naming.vertical("canopy-height", [naming.Path(ETH)], None) == (None, None)
    with pytest.raises(InputError, match="canopy-height are not over the 'geoid'"):
        naming.vertical("canopy-height", [naming.Path(ETH)], "geoid")
    with pytest.raises(InputError, match="'sea'; that is for dem, and ellipsoid or geoid"):
        naming.vertical("dem", [naming.Path("a.tif")], "sea")
