"""What a scene tells people: every fact in words that hold, shares that add up."""

import pytest

from carbonmap.stages.gf1.text import text

PIXELS = {
    "grid": 1200, "outside": 200, "clear": 700, "cloud": 250, "thin_cloud": 40, "cloud_shadow": 30,
    "terrain_shadow": 0, "missing_line": 0, "zero": 0, "saturated": 120,
}  # fmt: skip


def report(**more):
    return {
        "scene": {"long_name": "surface reflectance"},
        "notes": ["a note"],
        "heights": "DEM over the ellipsoid",
        "lines": 13719,
        "lost_lines": 0,
        "atmosphere": "dos",
        "terrain": "scs+c",
        "clouds": "spectral",
        "registration": None,
        "pixels": PIXELS,
    } | more


def test_a_scene_is_told_in_full():
    assert text("GF1", report()).splitlines() == [
        "GF1: 1,000 px of the region, 70.0% clear and 30.0% flagged",
        "  flags, of which a pixel may have several: cloud 25.0%, thin cloud 4.0%, cloud shadow "
        "3.0%, terrain shadow 0.0%",
        "  nodata among the flagged: saturated 120 px",
        "  surface reflectance by dark-object subtraction; light of slopes corrected by SCS+C; "
        "heights: DEM over the ellipsoid",
        "  a note",
    ]


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (
            {"atmosphere": "6s", "aod_550": 0.154, "aod_source": "estimated from dark land"},
            "surface reflectance by 6S with AOD 0.15 estimated from dark land;",
        ),
        (
            {"atmosphere": "none", "scene": {"long_name": "top-of-atmosphere reflectance"}},
            "  top-of-atmosphere reflectance; light",
        ),
        ({"terrain": "none: off"}, "light of slopes not corrected, as --terrain none asks;"),
        ({"terrain": "none: no DEM"}, "light of slopes not corrected for want of a DEM;"),
        ({"terrain": "none: few slopes above 10°"}, "not corrected, since few are above 10°;"),
        ({"terrain": "c"}, "light of slopes corrected by the C-correction;"),
        ({"lost_lines": 12319}, "  12,319 of 13,719 lines are lost"),
        ({"lost_lines": 1}, "  1 of 13,719 lines is lost"),
        ({"clouds": "none"}, "several: terrain shadow 0.0%; clouds were not looked for"),
    ],
)
def test_every_way_is_told_in_words(facts, says):
    assert says in text("GF1", report(**facts))
