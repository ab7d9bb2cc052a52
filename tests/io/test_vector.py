"""Claims about vector files: which are opened, whether they are whole, what their text says."""

import datetime
import json
import struct

import numpy as np
import pyarrow.parquet as pq
import pytest

from carbonmap.errors import InputError, LabelError, MissingInput
from carbonmap.io.stands import Fields, read_boundary, read_inventory
from carbonmap.io.vector import hash_inputs, read_stands, write_stands
from tests.inventories import FIELDS, GRID, UTM, saved, stands

faults = pytest.mark.faults


# --- the file itself


@faults
def test_a_file_that_is_not_what_its_name_says_is_refused_unopened(tmp_path):
    secret = saved(stands(), tmp_path)
    vrt = f'<OGRVRTDataSource><OGRVRTLayer name="stands"><SrcDataSource>{secret}</SrcDataSource>'
    for name in ("a.shp", "a.gpkg", "a.parquet"):
        (tmp_path / name).write_text(vrt + "</OGRVRTLayer></OGRVRTDataSource>")
        with pytest.raises(InputError, match="its content is something else"):
            read_inventory(tmp_path / name, FIELDS, GRID)


@faults
@pytest.mark.parametrize("path", ["/vsicurl/http://x/a.shp", "https://x/a.gpkg", "GPKG:a.gpkg"])
def test_an_address_is_never_opened(path):
    with pytest.raises(InputError, match=r"address|no such file"):
        read_inventory(path, FIELDS, GRID)


def test_another_format_is_refused_with_the_valid_ones(tmp_path):
    (tmp_path / "a.kml").write_text("<kml/>")
    with pytest.raises(InputError, match=r"\.shp.*\.gpkg.*\.parquet"):
        read_inventory(tmp_path / "a.kml", FIELDS, GRID)


@faults
@pytest.mark.parametrize("suffix", [".shx", ".dbf"])
def test_a_missing_part_of_a_shapefile_is_named(tmp_path, suffix):
    path = saved(stands(), tmp_path, "stands.shp")
    path.with_suffix(suffix).unlink()
    with pytest.raises(MissingInput, match=f"lacks its {suffix}"):
        read_inventory(path, FIELDS, GRID)


def test_parts_with_capital_suffixes_are_found(tmp_path):
    path = saved(stands(), tmp_path, "stands.shp")
    for suffix in (".shx", ".dbf"):
        path.with_suffix(suffix).rename(path.with_suffix(suffix.upper()))
    assert len(read_inventory(path, FIELDS, GRID).stands) == 3


@faults
@pytest.mark.parametrize("suffix", [".shp", ".dbf", ".shx"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_shapefile_is_refused_and_not_read_as_fewer_stands(tmp_path, suffix, share):
    path = saved(stands(50), tmp_path, "stands.shp")
    part = path.with_suffix(suffix)
    whole = part.read_bytes()
    part.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match="cut short"):
        read_inventory(path, FIELDS, GRID)


@faults
def test_attributes_of_another_shapefile_are_refused(tmp_path):
    path = saved(stands(3), tmp_path, "stands.shp")
    other = saved(stands(4), tmp_path, "other.shp")
    path.with_suffix(".dbf").write_bytes(other.with_suffix(".dbf").read_bytes())
    with pytest.raises(InputError, match="3 outlines and 4 records"):
        read_inventory(path, FIELDS, GRID)


@faults
@pytest.mark.parametrize("name", ["stands.gpkg", "stands.parquet"])
@pytest.mark.parametrize("share", [0.01, 0.5])
def test_a_damaged_file_is_refused_by_name(tmp_path, name, share):
    path = saved(stands(), tmp_path, name)
    whole = path.read_bytes()
    path.write_bytes(whole[: max(100, int(share * len(whole)))])
    with pytest.raises(InputError, match=r"stands\.\w+. cannot be read"):
        read_inventory(path, FIELDS, GRID)


def test_a_layer_must_be_chosen_where_there_are_several(tmp_path):
    saved(stands(), tmp_path, layer="stands_2020")
    path = saved(stands(2), tmp_path, layer="stands_2010")
    with pytest.raises(InputError, match="2 layers of geometry"):
        read_inventory(path, FIELDS, GRID)
    with pytest.raises(InputError, match="did you mean 'stands_2020'"):
        read_inventory(path, FIELDS, GRID, layer="stand_2020")
    assert len(read_inventory(path, FIELDS, GRID, layer="stands_2010").stands) == 2


def test_a_missing_field_is_answered_with_the_nearest(tmp_path):
    path = saved(stands(HUO_LMGQXJ=[1, 2, 3]), tmp_path, "stands.shp")
    with pytest.raises(InputError, match="'HUO_LMGXJ'; did you mean 'HUO_LMGQXJ'"):
        read_inventory(path, Fields("HUO_LMGXJ"), GRID)


@faults
def test_a_field_name_that_occurs_twice_is_refused(tmp_path):
    path = saved(stands(W=[1, 2, 3]), tmp_path, "stands.shp")
    table = path.with_suffix(".dbf")
    table.write_bytes(table.read_bytes().replace(b"W\0", b"V\0", 1))
    with pytest.raises(InputError, match="2 fields called 'V'"):
        read_inventory(path, FIELDS, GRID)


def test_a_field_of_dates_is_no_volume(tmp_path):
    frame = stands(D=np.array(["2020-01-01"] * 3, dtype="datetime64[s]"))
    with pytest.raises(InputError, match="'D' holds datetime"):
        read_inventory(saved(frame, tmp_path), Fields("D"), GRID)


def test_a_geoparquets_days_are_no_volume_and_no_area(tmp_path):
    days = [datetime.date(2020, 1, 2)] * 3
    path = saved(stands(D=days), tmp_path, "stands.parquet")
    with pytest.raises(LabelError, match="D holds 2020-01-02; write numbers"):
        read_inventory(path, Fields("D"), GRID)
    found = read_inventory(path, Fields("V", area="D"), GRID)
    assert "these areas are not compared" in found.problems[0].detail


def test_plain_parquet_is_refused(tmp_path):
    stands().drop(columns="geometry").to_parquet(tmp_path / "a.parquet")
    with pytest.raises(InputError, match="without geometry"):
        read_inventory(tmp_path / "a.parquet", FIELDS, GRID)


# --- text


def chinese():
    return stands(树种=["云南松", "华山松", "栎类"])


def without_cpg(frame, folder, encoding):
    path = saved(frame, folder, "stands.shp", encoding=encoding)
    path.with_suffix(".cpg").unlink()
    return path


@faults
@pytest.mark.parametrize("said", ["GBK", "gb2312", "936", "GB18030"])
def test_gbk_without_a_cpg_is_read_as_the_user_says(tmp_path, said):
    path = without_cpg(chinese(), tmp_path, "GBK")
    fields = Fields("V", "ID", species="树种")
    found = read_inventory(path, fields, GRID, encoding=said)
    assert found.stands["species"].tolist() == ["云南松", "华山松", "栎类"]
    assert found.notes == ()


@faults
def test_gbk_without_a_cpg_is_never_shown_as_mojibake(tmp_path):
    path = without_cpg(chinese(), tmp_path, "GBK")
    with pytest.raises(InputError, match=r"--encoding.*GBK: '树种'"):
        read_inventory(path, Fields("V"), GRID)


@pytest.mark.parametrize("text", ["GBK", "936", "ANSI 936", "CP936", "gb2312"])
def test_a_cpg_is_believed_however_it_names_gbk(tmp_path, text):
    path = saved(chinese(), tmp_path, "stands.shp", encoding="GBK")
    path.with_suffix(".cpg").write_text(text)
    found = read_inventory(path, Fields("V", species="树种"), GRID)
    assert found.stands["species"][0] == "云南松"


def test_the_dbfs_own_language_byte_names_gbk(tmp_path):
    path = without_cpg(chinese(), tmp_path, "GBK")
    table = path.with_suffix(".dbf")
    raw = bytearray(table.read_bytes())
    raw[29] = 0x4D
    table.write_bytes(raw)
    assert read_inventory(path, Fields("V", species="树种"), GRID).stands["species"][2] == "栎类"


@faults
def test_a_cpg_that_lies_is_found_out(tmp_path):
    path = saved(chinese(), tmp_path, "stands.shp", encoding="GBK")
    path.with_suffix(".cpg").write_text("UTF-8")
    with pytest.raises(InputError, match=r"stands.cpg says utf-8.*--encoding"):
        read_inventory(path, Fields("V"), GRID)
    path.with_suffix(".cpg").write_text("klingon")
    with pytest.raises(InputError, match="'klingon', which is no known encoding"):
        read_inventory(path, Fields("V"), GRID)


def test_a_western_cpg_on_chinese_text_is_noted(tmp_path):
    path = saved(chinese(), tmp_path, "stands.shp", encoding="GBK")
    path.with_suffix(".cpg").write_text("ISO-8859-1")
    (note,) = read_inventory(path, Fields("V"), GRID).notes
    assert "looks Chinese" in note
    assert "树种" in note


def test_utf8_without_a_cpg_is_read_and_said(tmp_path):
    path = without_cpg(chinese(), tmp_path, "UTF-8")
    found = read_inventory(path, Fields("V", species="树种"), GRID)
    assert found.stands["species"][0] == "云南松"
    assert any("reads as UTF-8" in note for note in found.notes)


def test_finnish_text_needs_its_own_encoding(tmp_path):
    path = without_cpg(stands(laji=["mänty", "kuusi", "koivu"]), tmp_path, "ISO-8859-1")
    fields = Fields("V", species="laji")
    with pytest.raises(InputError, match="ISO-8859-1: 'mänty'"):
        read_inventory(path, fields, GRID)
    found = read_inventory(path, fields, GRID, encoding="latin1")
    assert found.stands["species"][0] == "mänty"
    assert found.notes == ()


def test_a_text_cut_within_a_character_loses_only_that(tmp_path):
    path = saved(stands(T=["松树" * 20] * 3), tmp_path, "stands.shp", encoding="GBK")
    table = path.with_suffix(".dbf")
    cut = table.read_bytes().replace(("松树" * 20).encode("gbk"), b" " + b"\xcb\xc9" * 39 + b"\xcb")
    table.write_bytes(cut)
    found = read_inventory(path, Fields("V", species="T"), GRID)
    assert found.stands["species"][0] == "松" * 39
    assert any("middle of a character" in note for note in found.notes)


@faults
@pytest.mark.parametrize("said", [None, "UTF-8", "klingon"])
def test_of_a_boundary_no_text_is_read(tmp_path, said):
    path = without_cpg(chinese(), tmp_path, "GBK")
    if said is not None:
        path.with_suffix(".cpg").write_text(said)
    assert read_boundary(path, UTM).area == pytest.approx(3e4)


def test_an_encoding_for_a_file_that_has_its_own_is_refused(tmp_path):
    with pytest.raises(InputError, match="UTF-8 by its standard"):
        read_inventory(saved(stands(), tmp_path), FIELDS, GRID, encoding="GBK")


# --- what is written


def test_stands_are_written_as_geoparquet_1_1_and_read_back(tmp_path):
    found = read_inventory(saved(stands(), tmp_path), FIELDS, GRID).stands
    write_stands(found, tmp_path / "out" / "stands.parquet")
    meta = json.loads(pq.read_metadata(tmp_path / "out" / "stands.parquet").metadata[b"geo"])
    assert meta["version"] == "1.1.0"
    assert "covering" in meta["columns"]["geometry"]
    back = read_stands(tmp_path / "out" / "stands.parquet")
    assert back.drop(columns="bbox", errors="ignore").equals(found)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["stands.parquet"]


def test_a_change_in_any_part_of_a_shapefile_changes_its_hash(tmp_path):
    path = saved(stands(), tmp_path, "stands.shp")
    saved(stands(), tmp_path, "other.shp")
    before = hash_inputs(path)
    assert sorted(before) == [f"stands.{s}" for s in ("cpg", "dbf", "prj", "shp", "shx")]
    for name in before:
        raw = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(raw + b" ")
        assert hash_inputs(path) != before
        (tmp_path / name).write_bytes(raw)
    assert hash_inputs(path) == before


def test_a_shapefile_header_is_what_we_think_it_is(tmp_path):
    raw = saved(stands(), tmp_path, "stands.shp").read_bytes()
    assert raw[:4] == b"\x00\x00\x27\x0a"
    assert 2 * struct.unpack(">i", raw[24:28])[0] == len(raw)
