"""A product's XML and RPB: a real one whole, what each field refuses, and whether they agree."""

import datetime
import math
import re
import time
from dataclasses import replace

import numpy as np
import pytest

from carbonmap import gf1
from carbonmap.errors import InputError
from carbonmap.gf1 import camera as camera_
from carbonmap.sun import sun_degrees
from tests.gf1_products import NAME, WHEN, camera, fields, polynomial, real, rpb, xml

FILE = f"{NAME}.xml"


def parse(**changes):
    return gf1.parse_xml(xml(**changes), FILE)


# A real product.


def test_a_real_products_metadata_are_read_whole():
    path = real(".xml")
    scene = gf1.parse_xml(path.read_bytes(), path.name)
    assert scene == gf1.Scene(
        id="GF1_WFV3_E89.0_N23.9_20200523_L1A0004819525",
        satellite="GF1",
        sensor="WFV3",
        acquired=datetime.datetime(2020, 5, 23, 5, 3, 8, tzinfo=datetime.UTC),
        height=13719,
        width=12000,
        sun_zenith_deg=13.7242,
        sun_azimuth_deg=100.742,
        view_zenith_deg=pytest.approx(8.7728),
        view_azimuth_deg=281.853,
        corners=(
            (88.2994, 25.0142), (90.154, 24.6393), (89.6848, 22.7438), (87.8577, 23.1154),
        ),
        gain_mode=("G0",) * 4,
        cloud_percent=38.0,
        product_id="4819525",
        level="LEVEL1A",
    )  # fmt: skip


def test_a_real_products_camera_is_read_whole():
    rpc = gf1.parse_rpb(real(".rpb").read_text("ascii"), "real.rpb")
    assert (rpc.line_off, rpc.samp_off, rpc.line_scale, rpc.samp_scale) == (7130, 6027, 8064, 7168)
    assert (rpc.lat_off, rpc.long_off) == (23.843588814663839, 88.982994923620438)
    assert (rpc.height_off, rpc.height_scale) == (-41.824043225440242, 2041.238296302082745)
    assert (rpc.lat_scale, rpc.long_scale) == (1.349423318542385, 1.424114739530680)
    assert (rpc.line_num[0], rpc.line_num[19]) == (1.228301980059526e-3, -9.348480620273735e-11)
    assert (rpc.line_den[1], rpc.samp_num[11]) == (1.636403986638213e-3, -4.421104189473352e-1)
    assert rpc.samp_den[19] == -7.534780071675875e-8


def real_pair():
    path = real(".xml")
    scene = gf1.parse_xml(path.read_bytes(), path.name)
    return gf1.parse_rpb(real(".rpb").read_text("ascii"), "real.rpb"), scene


def test_a_real_products_camera_and_corners_agree_to_two_pixels():
    rpc, scene = real_pair()
    gf1.require_fit(rpc, scene)
    assert 3 <= gf1.footprint_gap_m(rpc, scene, 0.0) <= 33


def test_a_real_products_angles_are_what_its_time_and_camera_say():
    """Which decides what CenterTime, SolarZenith and SatelliteZenith mean."""
    rpc, scene = real_pair()
    sun = sun_degrees(scene.acquired, *scene.centre)
    assert sun == pytest.approx((scene.sun_zenith_deg, scene.sun_azimuth_deg), abs=0.05)
    line, sample = np.full(2, scene.height / 2), np.full(2, scene.width / 2)
    lon, lat = rpc.ground(line, sample, np.array([0.0, 1000.0]))
    east = math.radians(lon[1] - lon[0]) * math.cos(math.radians(lat[0])) * 6_371_000
    north = math.radians(lat[1] - lat[0]) * 6_371_000
    assert math.degrees(math.atan2(math.hypot(east, north), 1000)) == pytest.approx(
        scene.view_zenith_deg, abs=0.1
    )
    assert math.degrees(math.atan2(east, north)) % 360 == pytest.approx(
        scene.view_azimuth_deg, abs=0.5
    )


# The metadata.


def test_a_scenes_own_words_come_back():
    scene = parse()
    assert (scene.id, scene.sensor, scene.acquired) == (NAME, "WFV3", WHEN)
    assert (scene.height, scene.width, scene.notes) == (60, 50, ())


@pytest.mark.parametrize(
    ("encoding", "declared"),
    [("utf-8-sig", "UTF-8"), ("utf-16", "UTF-16"), ("gb18030", "GB2312"), ("gb18030", "gbk"),
     ("utf-8", "UTF-8"), ("utf-8", "utf8"), ("gb18030", "GB_2312-80"), ("gb18030", "cp936"),
     ("gb18030", "GB18030"), ("iso-8859-1", "ISO-8859-1"), ("iso-8859-1", "latin1"),
     ("cp1252", "Windows-1252"), ("ascii", "US-ASCII"), ("big5", "Big5")],
)  # fmt: skip
def test_every_encoding_in_which_products_are_written_is_read(encoding, declared):
    chinese = encoding.startswith(("utf", "gb"))
    more = {"Station": "密云接收站"} if chinese else {}
    assert gf1.parse_xml(xml(encoding, declared, **more), FILE) == parse()


def test_an_encoding_that_is_none_or_does_not_fit_is_named():
    with pytest.raises(InputError, match=r"encoding 'klingon'; want utf-8, .*: save it as UTF-8"):
        gf1.parse_xml(xml("utf-8", "klingon"), FILE)
    with pytest.raises(InputError, match="are not utf-8, the encoding in which it says"):
        gf1.parse_xml(xml("gb18030", "UTF-8", Station="密云"), FILE)


NEEDED = [
    "SatelliteID", "SensorID", "ProductLevel", "ProductID", "WidthInPixels", "HeightInPixels",
    "SolarZenith", "SolarAzimuth", "SatelliteZenith", "SatelliteAzimuth", "TopLeftLatitude",
    "TopLeftLongitude", "TopRightLatitude", "BottomRightLongitude", "BottomLeftLatitude",
]  # fmt: skip


@pytest.mark.parametrize("tag", NEEDED)
@pytest.mark.parametrize(("value", "state"), [(None, "missing"), (" ", "empty")])
def test_a_missing_or_empty_field_is_named_with_the_file_and_what_it_should_be(tag, value, state):
    with pytest.raises(InputError, match=rf"'{re.escape(FILE)}': {tag} is {state}; want .+"):
        parse(**{tag: value})


@pytest.mark.parametrize(
    ("tag", "value", "says"),
    [
        ("SatelliteID", "GF2", "it is of GF2's camera WFV3; want GF1's WFV1, WFV2, WFV3 or WFV4"),
        ("SensorID", "PMS1", "GF1's camera PMS1; want GF1's WFV1.*ingest image"),
        ("ProductLevel", "LEVEL2A", "ProductLevel is 'LEVEL2A'; want LEVEL1A.*ingest image"),
        ("WidthInPixels", "0", "WidthInPixels is '0'; want a number from 1 to 32768 px"),
        ("WidthInPixels", "12000.5", "want a whole number"),
        ("HeightInPixels", "99999999999", "HeightInPixels is '99999999999'; want"),
        ("HeightInPixels", "6_0", "HeightInPixels is '6_0'"),
        ("HeightInPixels", "６０", "HeightInPixels is '６０'"),
        ("SolarZenith", "nan", "SolarZenith is 'nan'; want a number from 0 to 89 degrees"),
        ("SolarZenith", "95", "SolarZenith is '95'"),
        ("SolarZenith", "1e999", "SolarZenith is '1e999'"),
        ("SolarAzimuth", "361", "SolarAzimuth is '361'"),
        ("SatelliteZenith", "-3", "SatelliteZenith is '-3'; want a number from 0 to 90"),
        ("TopLeftLatitude", "126.5", "TopLeftLatitude is '126.5'"),
        ("CenterTime", "yesterday", "CenterTime is 'yesterday'; want a time such as"),
        ("CenterTime", "2020-02-30 12:00:00", "CenterTime is '2020-02-30 12:00:00'"),
        ("CenterTime", "0001-01-01 00:00:00", "CenterTime is"),
    ],
)
def test_a_value_that_cannot_be_is_named_with_what_it_should_be(tag, value, says):
    with pytest.raises(InputError, match=says):
        parse(**{tag: value})


def test_the_suns_elevation_in_place_of_its_zenith_is_found_by_the_almanac():
    zenith = parse().sun_zenith_deg
    with pytest.raises(InputError, match=r"SolarZenith .* do not fit .* where the sun stood at"):
        parse(SolarZenith=f"{90 - zenith:.3f}")


def test_a_time_in_the_wrong_zone_is_found_by_the_almanac():
    with pytest.raises(InputError, match=r"do not fit .*CenterTime is UTC\+8"):
        parse(CenterTime=fields()["ReceiveTime"], ReceiveTime=None)


def test_either_time_will_do_and_both_mean_one_moment():
    assert parse(CenterTime=None).acquired == WHEN
    assert parse(ReceiveTime=None).acquired == WHEN
    with pytest.raises(InputError, match="CenterTime and ReceiveTime are missing"):
        parse(CenterTime=None, ReceiveTime=None)


@pytest.mark.parametrize(
    ("minutes", "notes"), [(0.9, 0), (-0.9, 0), (5, 1), (-59, 1), (61, None), (-1440, None)]
)
def test_two_times_that_differ_are_told_and_past_an_hour_refused(minutes, notes):
    other = f"{WHEN + datetime.timedelta(minutes=minutes):%Y-%m-%d %H:%M:%S}"
    if notes is None:
        with pytest.raises(InputError, match="must mean the same minute"):
            parse(ReceiveTime=other)
    else:
        scene = parse(ReceiveTime=other)
        assert scene.acquired == WHEN
        assert len(scene.notes) == notes


@pytest.mark.parametrize(
    ("mode", "modes"),
    [("G1,G1,G1,G1", "G1"), ("G0,G0,G0,G2", "G2"), ("G3,G1,G1,G0", "G1, G3"), ("x" * 99, "x{9}")],
)
def test_gains_of_another_mode_are_told_since_the_table_may_not_hold(mode, modes):
    (note,) = parse(GainMode=mode).notes
    assert re.search(rf"GainMode .*{modes}.* of G0.*--gain", note)
    assert len(note) < 300


@pytest.mark.parametrize("mode", ["G0,G0,G0,G0", "G0", " g0, g0 ,G0,G0", "", None])
def test_the_standard_gains_and_no_word_of_them_are_no_news(mode):
    assert parse(GainMode=mode).notes == ()


def test_a_day_before_the_launch_is_refused():
    with pytest.raises(InputError, match="2012-08-27; want a day in GF-1's life"):
        parse(CenterTime="2012-08-27 12:01:05", ReceiveTime=None)


def test_the_satellites_elevation_becomes_its_zenith_and_a_zenith_stays():
    assert parse(SatelliteZenith="81.25").view_zenith_deg == 8.75
    assert parse(SatelliteZenith="61").view_zenith_deg == 29
    assert parse(SatelliteZenith="27.5").view_zenith_deg == 27.5


def test_a_senseless_cloud_cover_is_told_and_left_out():
    assert parse(CloudPercent=None).cloud_percent is None
    scene = parse(CloudPercent="-1")
    assert scene.cloud_percent is None
    assert "CloudPercent is '-1'" in scene.notes[0]


def swapped(*corners):
    """Changes that give the named corners each other's place."""
    told = fields()
    return {
        f"{here}{axis}": told[f"{there}{axis}"]
        for here, there in zip(corners, corners[::-1], strict=True)
        for axis in ("Longitude", "Latitude")
    }


@pytest.mark.parametrize("pair", [("TopLeft", "TopRight"), ("TopLeft", "BottomRight"),
                                  ("TopRight", "BottomLeft")])  # fmt: skip
def test_crossed_or_mirrored_corners_are_refused(pair):
    with pytest.raises(InputError, match="do not run clockwise"):
        parse(**swapped(*pair))


def test_a_size_that_the_corners_contradict_is_refused():
    with pytest.raises(InputError, match=r"imply pixels of 1\.\d m; want 8 to 40"):
        parse(WidthInPixels="500")


def test_a_scene_across_the_date_line_is_one_scene():
    rpc = camera(lon=180.0)
    told = fields(rpc, when=WHEN - datetime.timedelta(hours=5))
    lons = {tag: (float(v) + 180) % 360 - 180 for tag, v in told.items() if "Longitude" in tag}
    assert min(lons.values()) < 0 < max(lons.values())
    sun = sun_degrees(WHEN - datetime.timedelta(hours=5), 180.0, 26.5)
    told |= {tag: f"{v:.6f}" for tag, v in lons.items()}
    told |= {"SolarZenith": f"{sun[0]:.3f}", "SolarAzimuth": f"{sun[1]:.3f}"}
    scene = gf1.parse_xml(xml(**told), "mine.xml")
    assert abs(scene.centre[0]) == pytest.approx(180, abs=1e-5)
    assert gf1.footprint_gap_m(rpc, scene, 0.0) < 1


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (NAME.replace("WFV3", "WFV2"), "name says sensor WFV2 and its content WFV3"),
        (NAME.replace("0827", "0828"), "name says day in China 20200828 and its content 20200827"),
        (NAME.replace("0371", "0372"), "product number 5020372 and its content 5020371"),
    ],
)
def test_metadata_under_another_products_name_are_refused(name, says):
    with pytest.raises(InputError, match=says):
        gf1.parse_xml(xml(), f"{name}.xml")
    assert gf1.parse_xml(xml(), "mine.XML").id == "mine"


def test_a_repeated_field_counts_when_its_values_differ():
    content = xml().decode()
    again = content.replace("<SensorID>", "<SensorID>WFV3</SensorID><SensorID>", 1)
    assert gf1.parse_xml(again.encode(), FILE) == parse()
    again = content.replace("<SensorID>", "<SensorID>WFV1</SensorID><SensorID>", 1)
    with pytest.raises(InputError, match="SensorID stands twice, as 'WFV1' and 'WFV3'"):
        gf1.parse_xml(again.encode(), FILE)


LAUGHS = """<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>"""
FILE_ENTITY = """<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/hostname">]>"""


@pytest.mark.parametrize("doctype", [LAUGHS, FILE_ENTITY, '<!DOCTYPE x SYSTEM "http://a.b/c">'])
def test_a_doctype_is_refused_before_anything_is_expanded(doctype):
    content = xml(CloudPercent="&amp;").decode().replace("<ProductM", doctype + "<ProductM", 1)
    with pytest.raises(InputError, match="DOCTYPE or entities"):
        gf1.parse_xml(content.encode(), FILE)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no XML"),
        (b"II*\0\x08", "no XML"),
        (b"<html></html>", "root is <html>"),
        (b"<a>" * 1_000_000, "1,000,000 tags"),
        (b" " * 5_000_001, "5,000,001 bytes"),
        (xml()[:500], "no XML"),
    ],
)
def test_what_is_no_products_xml_is_refused_at_once(content, says):
    start = time.perf_counter()
    with pytest.raises(InputError, match=says):
        gf1.parse_xml(content, FILE)
    assert time.perf_counter() - start < 5


# The camera.


def test_a_camera_comes_back_to_the_last_bit():
    assert gf1.parse_rpb(rpb(), "a.rpb") == camera()


@pytest.mark.parametrize(
    "change",
    [
        str.upper,
        str.lower,
        lambda t: t.replace(";", ""),
        lambda t: t.replace("\n", "\r\n").replace(" = ", "="),
        lambda t: t.replace("E+", "D+").replace("E-", "d-"),
        lambda t: t.replace("\n\t\t\t", " ").replace(",", " , "),
        lambda t: t.replace(");", ",\n);"),
        lambda t: re.sub(r"errBias.*?;", "", t),
        lambda t: "\ufeff" + t,
    ],
)
def test_case_spaces_semicolons_and_exponents_do_not_matter(change):
    assert gf1.parse_rpb(change(rpb()), "a.rpb") == camera()


@pytest.mark.parametrize("key", list(camera_.RPB_KEYS))
def test_a_missing_repeated_or_garbled_key_is_named(key):
    statement = re.search(rf"{key} = [^;]+;", rpb())[0]
    for text, says in (
        (rpb().replace(statement, ""), f"lacks {key};"),
        (rpb().replace(statement, statement.replace(key, key[:-1] + "x")), f"lacks {key};"),
        (rpb().replace(statement, statement + statement), f"has {key} twice"),
        (rpb().replace(statement, re.sub(r"\d", "x", statement, count=1)), f"{key}.* is "),
        (rpb().replace(statement, f"{key} = ;"), f"{key} is "),
    ):
        with pytest.raises(InputError, match=rf"RPB 'a\.rpb'.*{says}"):
            gf1.parse_rpb(text, "a.rpb")


def test_a_polynomial_with_too_few_or_too_many_numbers_is_named():
    for pattern, by, count in ((r"(lineNumCoef = \()", r"\1 1.0,", 21), (r",\s[^,)]+\)", ")", 19)):
        with pytest.raises(InputError, match=rf"Coef has {count} numbers; there must be 20"):
            gf1.parse_rpb(re.sub(pattern, by, rpb(), count=1), "a.rpb")


@pytest.mark.parametrize("number", ["nan", "inf", "1e999", "1_0", "0x10", "١", "--1", "1e", "-"])
def test_what_is_no_finite_number_is_refused(number):
    text = re.sub(r"latScale = [^;]+", f"latScale = {number}", rpb())
    with pytest.raises(InputError, match=r"latScale|lat_scale"):
        gf1.parse_rpb(text, "a.rpb")


@pytest.mark.parametrize(
    "text",
    ["a" * 900_000, "a=" * 450_000, "a =(" * 225_000, "a" + " " * 900_000, "(" * 900_000,
     "latScale=" + "1" * 900_000, "lineNumCoef=(" + "1 " * 400_000 + ")", "=" * 900_000,
     rpb().replace("latScale = ", "latScale = 1" + "0" * 900_000),
     rpb().replace("lineNumCoef = (", "lineNumCoef = (" + " " * 900_000 + "x")],
)  # fmt: skip
def test_no_text_takes_more_than_a_moment(text):
    start = time.perf_counter()
    with pytest.raises(InputError):
        gf1.parse_rpb(text, "a.rpb")
    assert time.perf_counter() - start < 5  # a quadratic search would take hours


def test_a_text_of_megabytes_is_not_looked_at():
    with pytest.raises(InputError, match="2,000,000 characters"):
        gf1.parse_rpb(" " * 2_000_000, "a.rpb")


# The camera and the scene.


def test_the_gap_is_the_distance_of_the_worst_corner():
    scene = parse()
    assert gf1.footprint_gap_m(camera(), scene, 0.0) < 0.5  # corners have six decimals
    north = camera(lat=26.5 + 700 / 111_195)
    assert gf1.footprint_gap_m(north, scene, 0.0) == pytest.approx(700, rel=1e-3)
    moved = f"{float(fields()['TopLeftLatitude']) + 100 / 111_195:.6f}"
    assert gf1.footprint_gap_m(camera(), parse(TopLeftLatitude=moved), 0.0) == pytest.approx(
        100, abs=0.5
    )


def test_higher_land_lies_aside_by_the_cameras_lean():
    assert gf1.footprint_gap_m(camera(lean=0.2), parse(), 1000.0) == pytest.approx(200, rel=5e-3)


def test_a_camera_that_sees_no_ground_is_infinitely_far():
    blind = replace(camera(), samp_num=polynomial(one=1))
    assert gf1.footprint_gap_m(blind, parse(), 0.0) == math.inf


@pytest.mark.parametrize(
    ("rpc", "says"),
    [
        (camera(lat=27.5), "puts a corner 111 km away"),
        (camera(lon=105.4), "puts a corner 1.. km away"),
        (camera(height=600), None),  # ten times as high: found below, by its corners' distance
        (replace(camera(), samp_num=polynomial(one=1)), "pixels of nan"),
        (replace(camera(), long_scale=1.0), "want about 16 m"),
        (replace(camera(), line_num=polynomial(lat=1)), "pixels of -16"),
    ],
)
def test_a_camera_of_another_scene_or_a_broken_one_is_refused(rpc, says):
    if says is None:
        assert gf1.footprint_gap_m(rpc, parse(), 0.0) > gf1.GAP_WARN_M
        return
    with pytest.raises(InputError, match=says):
        gf1.require_fit(rpc, parse())


def test_a_cameras_own_scene_is_accepted():
    gf1.require_fit(camera(), parse())


def test_the_view_by_the_camera_and_by_the_metadata_are_compared():
    rpc, scene = real_pair()
    assert gf1.view_gap_deg(rpc, scene) < 0.2
    turned = replace(scene, view_azimuth_deg=(scene.view_azimuth_deg + 180) % 360)
    assert gf1.view_gap_deg(rpc, turned) == pytest.approx(2 * scene.view_zenith_deg, abs=0.2)


def test_lines_of_sight_that_bend_or_fan_out_are_no_cameras():
    bent = polynomial(lon=1, height=-0.375)[:9] + (0.05,) + (0.0,) * 10
    fanned = polynomial(one=1)[:5] + (0.3,) + (0.0,) * 14
    for change in ({"samp_num": bent}, {"samp_den": fanned, "height_scale": 200.0}):
        with pytest.raises(InputError, match="lines of sight that bend by"):
            gf1.require_fit(replace(camera(), **change), parse())
