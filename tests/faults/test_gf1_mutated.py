"""Metadata and cameras with anything done to them: refused in words, or they make sense.

ENGINEERING C4, rows 8 and 10.
"""

import dataclasses
import datetime
import math
import re
import time
from encodings.aliases import aliases

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from carbonmap import gf1
from carbonmap.errors import CarbonmapError
from carbonmap.gf1 import camera as camera_
from carbonmap.gf1 import metadata
from carbonmap.sun import sun_degrees
from tests.gf1_products import NAME, real, rpb, xml

pytestmark = pytest.mark.faults

FILE = f"{NAME}.xml"

SCENE = gf1.parse_xml(xml(), FILE)

DOCTYPE = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'

NASTY = ["", "nan", "-inf", "1e999", "-1", "0", "1e-400", "9" * 400, "1_0", "６", "0x1F", "1.2.3",
         "&a;", "&#0;", "<", "2020-02-30 25:61:00", "\x00", "\ud7ff", "WFV9", "1e308"]  # fmt: skip

CODECS = sorted({*aliases.values(), "idna", "punycode", "undefined", "unicode_escape",
                 "raw_unicode_escape", "palmos", "klingon", "..", "a" * 40})  # fmt: skip
"""Every encoding that Python knows, and some that it does not."""

HARMLESS = {"ascii", "big5", "cp1252", "gb18030", "gb2312", "gbk", "latin_1", "utf_8", "utf_16",
            "utf_16_be", "utf_16_le", "cp950"}  # fmt: skip
"""Those in which a product may be written, read in time that grows as their length."""

NUMBERS = re.compile(r"[-+]?\d+\.?\d*(?:E[-+]\d+)?")


KINDS = ["digit", "number", "line", "cut", "end", "encoding", "insert", "swap"]


@st.composite
def mutated(draw, text):
    """A text with one to four things done to it, as bytes."""
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(KINDS))
        at = draw(st.integers(0, max(len(text) - 1, 0)))
        lines = text.split("\n")
        i, j = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        if kind == "digit":
            text = text[:at] + draw(st.sampled_from("0123456789.-eE;<>=()")) + text[at + 1 :]
        elif kind == "number":
            found = list(NUMBERS.finditer(text))
            if found:
                hit = found[draw(st.integers(0, len(found) - 1))]
                new = draw(st.sampled_from(NASTY) | st.floats().map(repr))
                text = text[: hit.start()] + new + text[hit.end() :]
        elif kind == "line":
            text = "\n".join(lines[:i] + lines[j : j + 1] + lines[i:])
        elif kind == "cut":
            text = text[:at] + text[at + draw(st.integers(1, 60)) :]
        elif kind == "end":
            text = text[:at]
        elif kind == "encoding":
            text = text.replace('"UTF-8"', f'"{draw(st.sampled_from(CODECS))}"', 1)
        elif kind == "insert":
            text = text[:at] + draw(st.sampled_from([*NASTY, DOCTYPE]) | st.text()) + text[at:]
        else:
            lines[i], lines[j] = lines[j], lines[i]
            text = "\n".join(lines)
    content = bytearray(text.encode("utf-8", errors="replace"))
    for at in draw(st.lists(st.integers(0, max(len(content) - 1, 0)), max_size=3)):
        if content and draw(st.booleans()):
            content[at] ^= 1 << draw(st.integers(0, 7))
    return bytes(content)


MANY = settings(max_examples=500, suppress_health_check=[HealthCheck.too_slow])


def require_sense(scene):
    """What holds of every scene that is let through, whatever was done to its file."""
    assert scene.satellite == "GF1"
    assert scene.sensor in gf1.SENSORS
    assert metadata.LIFE[0] <= scene.acquired <= metadata.LIFE[1]
    assert scene.acquired.utcoffset() == datetime.timedelta(0)
    assert 1 <= scene.height <= metadata.LARGEST_PX
    assert 1 <= scene.width <= metadata.LARGEST_PX
    zenith, _ = sun_degrees(scene.acquired, *scene.centre)
    assert abs(scene.sun_zenith_deg - zenith) <= metadata.SUN_OFF_DEG + 1e-9
    assert 0 <= scene.sun_zenith_deg <= 89
    assert 0 <= scene.sun_azimuth_deg < 360
    assert 0 <= scene.view_zenith_deg <= 45
    assert 0 <= scene.view_azimuth_deg < 360
    assert scene.cloud_percent is None or 0 <= scene.cloud_percent <= 100
    assert all(abs(lon) <= 180 and abs(lat) <= 90 for lon, lat in scene.corners)
    (left, top), (right, _), (_, bottom), _ = scene.corners
    width_m = math.radians(right - left) * math.cos(math.radians(top)) * 6_371_000
    assert 0 < width_m <= 45 * scene.width
    assert 0 < math.radians(top - bottom) * 6_371_000 <= 45 * scene.height


def refusal(call, *args):
    """What a call gives, and what it says where it refuses; any other error is a crash."""
    try:
        return call(*args), None
    except CarbonmapError as error:
        return None, str(error)


@MANY
@given(mutated(xml().decode()))
def test_mutated_metadata_are_refused_in_words_or_make_sense(content):
    scene, said = refusal(gf1.parse_xml, content, FILE)
    if said is None:
        require_sense(scene)
    else:
        assert FILE in said
        assert len(said) < 1000


@pytest.mark.parametrize("codec", CODECS)
def test_metadata_that_declare_any_encoding_are_read_right_or_refused_in_words(codec):
    scene, said = refusal(gf1.parse_xml, xml(declared=codec), FILE)
    if said is None:
        assert scene == SCENE
        assert codec in HARMLESS
    else:
        assert "encoding" in said or (codec in HARMLESS and "no XML" in said)
        assert len(said) < 400


@pytest.mark.parametrize("codec", CODECS)
def test_no_encoding_that_metadata_declare_takes_long_to_read(codec):
    """Punycode inserts letter after letter, which takes 5 s of 200 kB and an hour of 5 MB."""
    content = xml(declared=codec) + b"-" + b"9" * 200_000
    begun = time.process_time()
    assert refusal(gf1.parse_xml, content, FILE)[1]
    assert time.process_time() - begun < 2


def numbers_in(text):
    """Every number that a text holds."""
    found = re.findall(r"[-+]?[\d.]+(?:[eEdD][-+]?\d+)?", text)
    return {float(n) for n in found if re.fullmatch(metadata.NUMBER, n)}


@MANY
@given(mutated(rpb()))
def test_a_mutated_camera_is_refused_in_words_or_is_one_of_the_files_numbers(content):
    text = content.decode("utf-8-sig", errors="replace")
    rpc, said = refusal(gf1.parse_rpb, text, "a.rpb")
    if said is not None:
        assert "a.rpb" in said
        assert len(said) < 1000
        return
    written = numbers_in(text.replace("D", "E").replace("d", "e"))
    for value in vars(rpc).values():
        for number in value if isinstance(value, tuple) else (value,):
            assert math.isfinite(number)
            assert number in written
    _, said = refusal(gf1.require_fit, rpc, SCENE)
    if said is None:
        assert gf1.footprint_gap_m(rpc, SCENE, 0.0) <= camera_.GAP_REFUSED_M
    else:
        assert NAME in said


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=400))
def test_any_bytes_at_all_are_refused_in_words(content):
    assert refusal(gf1.parse_xml, content, FILE)[1]
    assert refusal(gf1.parse_rpb, content.decode("latin-1"), "a.rpb")[1]


@pytest.mark.parametrize("factor", [-1, 10])
def test_one_wrong_coefficient_of_80_is_refused_or_told_or_moves_land_by_little(factor):
    """Row 8. What nobody is told of moves land by less than the 500 m that corners may be off at
    height 0, and by less than a kilometre at 3000 m."""
    path = real(".xml")
    scene = gf1.parse_xml(path.read_bytes(), path.name)
    rpc = gf1.parse_rpb(real(".rpb").read_text("ascii"), "real.rpb")
    line, sample = np.meshgrid(np.linspace(0, 13718, 8), np.linspace(0, 11999, 8))
    ground = {h: rpc.ground(line, sample, np.full(line.shape, h)) for h in (0.0, 3000.0)}
    for name in ("line_num", "line_den", "samp_num", "samp_den"):
        for place in range(20):
            numbers = list(getattr(rpc, name))
            numbers[place] *= factor
            wrong, said = refusal(replaced, rpc, name, numbers, scene)
            if said is None and not told(wrong, scene):
                for height, (lon, lat) in ground.items():
                    at = wrong.project(lon, lat, np.float64(height))
                    moved_m = 16 * np.hypot(at[0] - line, at[1] - sample).max()
                    assert moved_m < (1000 if height else 500)


def replaced(rpc, name, numbers, scene):
    """A camera with other numbers, which must still pass for one."""
    wrong = dataclasses.replace(rpc, **{name: tuple(numbers)})
    gf1.require_fit(wrong, scene)
    return wrong


def told(rpc, scene):
    gap = gf1.footprint_gap_m(rpc, scene, 0.0)
    return gap > gf1.GAP_WARN_M or gf1.view_gap_deg(rpc, scene) > gf1.VIEW_WARN_DEG
