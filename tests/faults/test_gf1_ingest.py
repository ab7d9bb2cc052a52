"""Products that were harmed before `carbonmap ingest gf1` met them: refused or told, never a map.

ENGINEERING C4, rows 6 to 13; what each reader does by itself is in test_gf1_reading.py.
"""

import io
import json
import re
import resource
import shutil
import tarfile
import warnings

import numpy as np
import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from carbonmap import landscape
from carbonmap.errors import CorruptData
from carbonmap.io import raster, scenes
from carbonmap.landscape.metadata import rpb_text, xml_text
from carbonmap.landscape.rpc_fit import fit_rpc
from carbonmap.stages.gf1 import register
from tests.faults.gf1_place import BARE, GRID, left, made, marks, part, products, region
from tests.faults.harm import obey_permissions, run
from tests.faults.test_gf1_reading import MRF, VRT, WMS
from tests.scenes import STEEP, shot, texture

pytestmark = pytest.mark.faults


@pytest.fixture
def ingest(spot, capsys):
    """Run the command in this process: what it said, and on stderr."""

    def call(*words, code=0):
        spot.run(*BARE, *words, code=code)
        said = capsys.readouterr()
        assert said.err.count("carbonmap: error: ") == (code == 1), said.err
        return said.err if code == 1 else said.out

    return call


@pytest.fixture
def refused(spot, ingest):
    """Run the command on a bad product: one message, and nothing is left of it."""

    def call(product, *says, more=()):
        before = made(spot)
        message = ingest(product.relative_to(spot.path), *more, code=1)
        for text in says:
            assert re.search(text, message), message
        assert len(message) < 1500
        assert made(spot) == before
        assert left(spot) == []

    return call


@pytest.fixture
def good(spot):
    """The product that is hurt."""
    return products(spot)[1]


def replaced(path, *pairs):
    """Change a product's text, by patterns."""
    text = path.read_text("utf-8")
    for pattern, new in pairs:
        text, count = re.subn(pattern, new, text)
        assert count, pattern
    path.write_text(text, "utf-8")


def rewrite(path, change=lambda counts: counts, **how):
    """A product's image again, in another form; GDAL would remove the RPB beside it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path) as source:
            counts = change(source.read())
        other = path.with_name("other.tiff")
        size = {"height": counts.shape[1], "width": counts.shape[2], "count": len(counts)}
        with rasterio.open(other, "w", driver="GTiff", dtype=counts.dtype, **size, **how) as out:
            out.write(counts)
    other.replace(path)


# rows 6 and 7: cut short, flipped


@pytest.mark.parametrize("form", [{}, {"tiled": True, "compress": "deflate"}])
def test_an_image_cut_short_anywhere_is_refused_by_its_name(refused, good, form):
    image = part(good, ".tiff")
    if form:
        rewrite(image, blockxsize=64, blockysize=64, **form)
    whole = image.read_bytes()
    for share in (0.01, 0.3, 0.9, 0.999):
        image.write_bytes(whole[: int(share * len(whole))])
        refused(good, image.name, "complete|damaged or cut short")


def test_a_bad_product_of_two_is_named_and_skipped_with_keep_going(spot, ingest):
    bad, other = products(spot)
    image = part(bad, ".tiff")
    image.write_bytes(image.read_bytes()[:60_000])
    assert bad.name in ingest("products", code=1)
    assert (marks(spot), left(spot)) == ([], [])
    said = ingest("products", "--keep-going", code=3)
    assert f"skipped {image.name}: " in said
    assert marks(spot) == [other.name]
    assert left(spot) == []
    report = json.loads(ingest("products", "--keep-going", "--json", code=3))
    assert list(report["skipped"]) == [str(image.relative_to(spot.path))]
    assert [s["state"] for s in report["scenes"]] == ["up to date"]
    message = ingest(f"products/{bad.name}", "--keep-going", code=1)
    assert "no product could be used" in message


def test_a_scene_that_is_there_from_another_form_of_its_product_is_skipped_with_keep_going(
    spot, ingest
):
    first, other = products(spot)
    ingest(f"products/{first.name}")
    before = made(spot)
    (spot.path / "dl").mkdir()
    path = packed(first).rename(spot.path / "dl" / f"{first.name}.tar.gz")
    ingest("dl", f"products/{other.name}", code=1)
    assert made(spot) == before
    said = ingest("dl", f"products/{other.name}", "--keep-going", code=3)
    assert re.search(rf"skipped {path.name}: .*holds output of other settings or inputs", said)
    assert marks(spot) == [first.name, other.name]
    assert {n: d for n, d in made(spot).items() if n in before} == before
    assert left(spot) == []


def test_files_and_an_archive_of_one_scene_named_together_are_ingested_once(spot, ingest, good):
    copied = shutil.copytree(good, spot.path / "copied" / good.name)
    packed(copied)
    report = json.loads(ingest("copied", f"products/{good.name}", "--json"))
    assert len(report["scenes"]) == 1
    assert marks(spot) == [good.name]


def test_good_products_before_a_bad_one_stay(spot, ingest):
    other, bad = products(spot)
    part(bad, ".rpb").write_text("")
    assert bad.name in ingest("products", code=1)
    assert marks(spot) == [other.name]


def test_an_image_that_is_but_reserved_room_is_refused(refused, good):
    """As a transfer that stopped leaves it: the length is right, the lines are zeros."""
    rewrite(part(good, ".tiff"), np.zeros_like)
    refused(good, "is empty: each of its 150 lines is zeros")


def test_an_image_of_which_the_end_is_reserved_room_is_told_line_by_line(ingest, good):
    image = part(good, ".tiff")
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2].ljust(len(whole), b"\0"))
    assert "75 of 150 lines are lost" in ingest(f"products/{good.name}")


def test_counts_that_no_camera_gives_are_refused(refused, good):
    rewrite(part(good, ".tiff"), lambda counts: counts * np.uint16(60))
    refused(good, "counts up to .* 10 bits")


def test_a_flipped_bit_of_a_finished_scene_is_an_error_by_its_name_or_changes_nothing(
    spot, ingest, good
):
    """A flag of zstd's frame that no reader looks at is the only bit that may flip unseen."""
    ingest(f"products/{good.name}")
    folder = region(spot) / good.name
    truth = [a[:] for a in scenes.open_scene(folder)]
    found, draw = [], np.random.default_rng(7)
    for chunk in [*folder.glob("data.zarr/image/c/*/0/0"), folder / "data.zarr/quality/c/0/0"]:
        whole = chunk.read_bytes()
        for bit in [*range(48), *draw.integers(0, 8 * len(whole), 30).tolist()]:
            flipped = bytearray(whole)
            flipped[bit // 8] ^= 1 << bit % 8
            chunk.write_bytes(flipped)
            found.append(damage(folder, truth))
        chunk.write_bytes(whole)
    assert len(found) == 5 * 78
    assert sum(found) > 0.97 * len(found)


def damage(folder, truth):
    """Whether reading a scene fails, by its name; it must where its values are not the true."""
    try:
        arrays = [a[:] for a in scenes.open_scene(folder)]
    except CorruptData as error:
        return folder.name in str(error)
    for array, want in zip(arrays, truth, strict=True):
        np.testing.assert_array_equal(array, want)
    return False


def test_a_lost_chunk_of_a_finished_scene_is_an_error_and_ingesting_again_mends_it(
    spot, ingest, good
):
    ingest(f"products/{good.name}")
    before = made(spot)
    (region(spot) / good.name / "data.zarr/image/c/2/0/0").unlink()
    with pytest.raises(CorruptData, match=good.name):
        scenes.open_scene(region(spot) / good.name)
    ingest(f"products/{good.name}")
    assert made(spot) == before


# row 8: the camera


def test_a_camera_that_is_missing_garbled_or_of_another_scene_is_refused(spot, refused, good):
    path = part(good, ".rpb")
    whole = path.read_text("ascii")
    moved = re.sub(r"(?<=latOffset = )[\d.]+", lambda m: str(float(m[0]) + 1.2), whole)
    for text, says in (
        ("", "lacks .*lineNumCoef"),
        (whole[:700], "lacks"),
        (whole.replace("sampDenCoef", "sampDenXoef"), "lacks sampDenCoef"),
        (moved, r"13\d km away from where the XML has it"),
        (part(products(spot)[0], ".xml").read_text("utf-8"), "lacks"),
    ):
        path.write_text(text)
        refused(good, good.name, says)
    path.unlink()
    refused(good, r"lacks its \.rpb")


def test_one_wrong_coefficient_of_weight_is_refused_or_told(spot, good, capsys):
    """So is the other camera over the same land, which looks 16° away from this one. Coefficients
    that move land by less than the warning's 500 m nobody can tell from a camera's own error.
    """
    name, path = f"products/{good.name}", part(good, ".rpb")
    whole = path.read_text("ascii")
    numbers = [m.span() for m in re.finditer(r"[-+]\d\.\d+E[-+]\d+", whole)]
    assert len(numbers) == 80
    wrong = [part(products(spot)[0], ".rpb").read_text("ascii")]
    for place in (1, 2, 41, 42, 43):
        start, end = numbers[place]
        wrong.append(whole[:start] + f"{float(whole[start:end]) * 10 + 1e-3:+.16E}" + whole[end:])
    for text in wrong:
        path.write_text(text)
        spot.run(*BARE, name, "--overwrite", "--json", code=None)
        said = capsys.readouterr()
        if "carbonmap: error: " not in said.err:
            notes = json.loads(said.out)["scenes"][0]["notes"]
            assert any("satellite stood" in n or "corners by the RPB" in n for n in notes)


def test_metadata_of_another_product_are_refused(spot, refused, good):
    path = part(good, ".xml")
    path.write_bytes(part(products(spot)[0], ".xml").read_bytes())
    refused(good, path.name, "its name says sensor WFV3 and its content WFV2")


# row 9: heights


def test_no_heights_stop_all_products_with_one_message(spot, ingest, refused, good):
    shutil.rmtree(spot.path / "archive" / "demo" / "elevation")
    refused(good, "ingest dem FILE.*--flat-height M")
    message = ingest("products", "--keep-going", code=1)
    assert message.count("--flat-height") == 1
    assert good.name not in message
    refused(good, "no such file", more=("--flat-height", 2000, "--reference", "none.tif"))
    assert "flat land at 2000 m" in ingest("products", "--flat-height", 2000)


def test_heights_from_nobody_knows_where_are_refused_until_somebody_says(spot, refused, good):
    mark = spot.path / "archive" / "demo" / "elevation" / "layer.json"
    for known, says in ((None, "--heights ellipsoid"), ("geoid", "--geoid FILE")):
        held = json.loads(mark.read_text())
        held["report"]["layer"]["vertical"] = known
        mark.write_text(json.dumps(held))
        refused(good, says)


@pytest.mark.parametrize("hole", [np.s_[60:61, 60:61], np.s_[:, 60:], np.s_[:, :]])
def test_holes_in_the_heights_are_refused_where_the_scene_has_land(
    spot, refused, good, hole, capsys
):
    land = landscape.elevation(GRID, STEEP)
    land[hole] = np.nan
    raster.write_tile(spot.path / "torn.tif", land, GRID, np.nan)
    whole = np.isnan(land).all()
    spot.run("ingest", "dem", "torn.tif", "--heights", "ellipsoid", "--overwrite", code=int(whole))
    capsys.readouterr()
    if not whole:
        refused(good, "no height", "--flat-height M where the land is level")


@pytest.mark.parametrize("off_m", [300, 1000])
def test_heights_that_are_off_cannot_be_known_alone_but_are_told_with_a_reference(
    spot, ingest, good, monkeypatch, capsys, off_m
):
    """300 m move this scene by three pixels; 1000 m and slopes leave no common shift, or a long."""
    raster.write_tile(spot.path / "true.tif", texture(GRID)[2], GRID, np.nan)
    land = landscape.elevation(GRID, STEEP) + np.float32(off_m)
    raster.write_tile(spot.path / "high.tif", land, GRID, np.nan)
    spot.run("ingest", "dem", "high.tif", "--heights", "ellipsoid", "--overwrite")
    capsys.readouterr()
    monkeypatch.setattr(register, "PATCH_PX", 40)
    said = ingest(f"products/{good.name}", "--reference", "true.tif")
    found = re.search(r"would fit when moved ([-+.\d]+) m east, ([-+.\d]+) m north", said)
    assert found or "place not checked: " in said
    if off_m == 300:
        assert found
        assert np.hypot(*map(float, found.groups())) > 30


def test_a_reference_that_does_not_decide_is_told_and_the_scene_is_made(
    spot, ingest, good, monkeypatch
):
    noise = np.random.default_rng(4).normal(500, 100, GRID.shape).astype(np.float32)
    raster.write_tile(spot.path / "noise.tif", noise, GRID, np.nan)
    monkeypatch.setattr(register, "PATCH_PX", 40)
    ingest(f"products/{good.name}")
    before = made(spot)
    said = ingest(f"products/{good.name}", "--reference", "noise.tif", "--overwrite")
    assert re.search("place not checked: .* patches", said)
    mark = spot.json("archive", "demo", scenes.FOLDER, good.name, scenes.MARK)
    assert mark["report"]["registration"]["spread_px"] is None
    assert left(spot) == []
    changed = {n for n, data in made(spot).items() if data != before[n]}
    assert changed == {f"{good.name}/{scenes.MARK}"}


# row 10: metadata


NEEDED = (
    "SatelliteID", "SensorID", "ProductID", "ProductLevel", "WidthInPixels", "HeightInPixels",
    "SolarAzimuth", "SolarZenith", "SatelliteAzimuth", "SatelliteZenith",
    *(f"{c}{a}" for c in ("TopLeft", "TopRight", "BottomRight", "BottomLeft")
      for a in ("Latitude", "Longitude")),
)  # fmt: skip


def test_every_field_that_is_needed_is_missed_by_its_name(refused, good):
    path = part(good, ".xml")
    whole = path.read_text("utf-8")
    for tag in NEEDED:
        path.write_text(re.sub(rf"<{tag}>.*?</{tag}>", "", whole), "utf-8")
        refused(good, path.name, f"{tag} is missing")
    none = re.sub(r"<(\w+Time)>.*?</\1>", "", whole)
    path.write_text(none, "utf-8")
    refused(good, path.name, "Time")


def test_a_wrong_encoding_a_bomb_and_no_xml_at_all_are_refused(refused, good):
    path = part(good, ".xml")
    whole = path.read_text("utf-8")
    entities = '<!ENTITY a0 "ha">' + "".join(
        f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10)
    )
    outside = '<!DOCTYPE x [<!ENTITY a9 SYSTEM "file:///etc/passwd">]>'
    head, body = whole.split("?>", 1)
    bomb = re.sub("<SensorID>.*?<", "<SensorID>&a9;<", body)
    for content, says in (
        (whole.replace("WFV3", "密云").encode("gbk"), "its bytes are not"),
        (f"{head}?><!DOCTYPE x [{entities}]>{bomb}".encode(), "DOCTYPE or entities"),
        (f"{head}?>{outside}{bomb}".encode(), "DOCTYPE or entities"),
        (whole[: len(whole) // 2].encode(), "not well-formed|no XML|cannot be"),
        (b"", "XML"),
        (b"\0" * 6_000_000, "6,000,000 bytes"),
    ):
        path.write_bytes(content)
        refused(good, path.name, says)


# row 11: archives


def packed(product, *first):
    """The product as an archive with members before its own; nothing else is left of it."""
    path = product.with_name(f"{product.name}.tar.gz")
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for member, content in first:
            archive.addfile(member, io.BytesIO(content))
        for file in sorted(product.iterdir()):
            archive.add(file, file.name)
    shutil.rmtree(product)
    return path


def member(name, content=b"", kind=tarfile.REGTYPE, link=""):
    found = tarfile.TarInfo(name)
    found.size, found.type, found.linkname = len(content), kind, link
    return found, content


HOSTILE = {
    "up": ([member("../../../../evil.xml", b"x")], "leads elsewhere"),
    "absolute": ([member("/var/carbonmap_evil.xml", b"x")], "leads elsewhere"),
    "symlink": ([member("a.tiff", kind=tarfile.SYMTYPE, link="/etc/passwd")], "symbolic link"),
    "hardlink": ([member("a.tiff", kind=tarfile.LNKTYPE, link="../dem.tif")], "is a link"),
    "device": ([member("a.tiff", kind=tarfile.CHRTYPE)], "device"),
    "pipe": ([member("a.tiff", kind=tarfile.FIFOTYPE)], "device or pipe"),
    "many": ([member(f"{n}.txt") for n in range(100_000)], "more than 100 members"),
    "twice": ([member("GF1_WFV3_a.xml", b"x"), member("x/GF1_WFV3_A.XML", b"y")], "has the name"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_archive_is_refused_and_nothing_is_written_anywhere(spot, refused, good, kind):
    first, says = HOSTILE[kind]
    path = packed(good, *first)
    outside = sorted(p for p in spot.path.parent.rglob("*") if region(spot) not in p.parents)
    refused(path, path.name, says)
    now = sorted(p for p in spot.path.parent.rglob("*") if region(spot) not in p.parents)
    assert [p for p in now if p != region(spot)] == [p for p in outside if p != region(spot)]


def test_a_bomb_is_refused_before_it_fills_the_disk(refused, good):
    path = packed(good)
    image = tarfile.TarInfo(f"{good.name}.tiff")
    image.size = 300 << 20
    with tarfile.open(path, "w:gz", compresslevel=1) as archive, open("/dev/zero", "rb") as zeros:
        archive.addfile(image, zeros)
    refused(path, path.name, "which an archive of its size may have")


def test_an_archive_whose_product_is_refused_leaves_none_of_its_files(spot, ingest, refused, good):
    """What is unpacked takes a gigabyte and more; a good archive leaves none of it either."""
    part(good, ".rpb").write_text("")
    path = packed(good)
    refused(path, "lacks .*lineNumCoef")
    whole = packed(products(spot)[0])
    ingest(whole.relative_to(spot.path))
    assert marks(spot) == [whole.name.removesuffix(".tar.gz")]
    assert left(spot) == []


def test_an_archive_under_another_name_is_refused_before_it_is_unpacked(refused, good):
    path = packed(good)
    for name in ("八月.tar.gz", "...tar.gz", f"{good.name[:-2]}99.tar.gz"):
        path = path.rename(path.with_name(name))
        refused(path, "as in GF1_WFV3_|the name of its product|product number")


# row 12: texts that point elsewhere


@pytest.mark.parametrize("text", [VRT, MRF, WMS])
def test_a_text_under_an_images_name_opens_nothing(spot, refused, good, listener, text):
    url, hits = listener
    for source in (f"/vsicurl/{url}/a.tif", f"{url}/a.tif", str(spot.path / "dem.tif")):
        part(good, ".tiff").write_text(text.format(w=140, h=150, source=source))
        refused(good, f"{good.name}.tiff", "is not a GeoTIFF")
    assert hits == []


def test_a_text_beside_an_image_that_gdal_would_follow_is_not_looked_at(
    spot, ingest, good, listener
):
    ingest(f"products/{good.name}")
    before = made(spot)
    url, hits = listener
    text = VRT.format(w=140, h=150, source=f"/vsicurl/{url}/a.tif")
    for ending in (".tiff.msk", ".tiff.ovr", ".msk", ".ovr", ".tiff.aux.xml", ".aux", "_RPC.TXT"):
        part(good, ending).write_text(text)
    ingest(f"products/{good.name}", "--overwrite")
    assert made(spot) == before
    assert hits == []


# row 13: sizes


def huge(folder, lines, samples):
    """A product of such a size without a single block in its image."""
    one = shot(texture, sensor="WFV2", lines=lines, samples=samples)
    path = folder / one.name
    path.mkdir()
    part(path, ".rpb").write_text(rpb_text(fit_rpc(one.camera)), "ascii")
    part(path, ".xml").write_text(xml_text(one), "utf-8")
    sparse(path, lines, samples)
    return path


def sparse(path, lines, samples, **how):
    other = path / "other.tiff"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            other, "w", driver="GTiff", height=lines, width=samples, count=4, dtype="uint16",
            sparse_ok=True, bigtiff="YES", **how,
        ):  # fmt: skip
            pass
    other.replace(part(path, ".tiff"))


def little_memory():
    """4 GB of addresses, of which 16 threads' stacks and GDAL's libraries are a part."""
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, resource.RLIM_INFINITY))


def test_an_image_of_which_most_is_not_there_is_refused_by_its_size(spot):
    path = huge(spot.path / "products", 32_000, 20_000)
    for how in ({}, {"tiled": True, "blockxsize": 16384, "blockysize": 16384}):
        sparse(path, 32_000, 20_000, **how)
        done = run(spot, (*BARE, path), (little_memory,))
        done.said(f"{path.name}.tiff", "bytes for 5,120,000,000 of counts", "fetch the product")
        assert left(spot) == []


@pytest.mark.slow
def test_a_full_length_of_zeros_is_read_and_refused_in_little_memory(spot):
    """Its file is as long as it should be, though the disk holds none of it."""
    path = huge(spot.path / "products", 12_000, 12_000)
    image = part(path, ".tiff")
    whole = image.stat().st_size + 8 * 12_000**2
    with image.open("r+b") as stream:
        stream.truncate(whole)
    run(spot, (*BARE, path), (little_memory,)).said("is empty", image.name)
    assert left(spot) == []


def test_a_size_past_every_camera_is_refused_by_rule(refused, good):
    replaced(part(good, ".xml"), (r"(?<=<WidthInPixels>)\d+", "1500000"))
    refused(good, "WidthInPixels is '1500000'; want a number from 1 to 32768 px")


# row 28: a product that may not be read


def test_a_product_that_may_not_be_read_is_named_and_skipped_with_keep_going(spot):
    bad, other = products(spot)
    for ending in (".tiff", ".xml"):
        part(bad, ending).chmod(0)
        run(spot, (*BARE, bad), (obey_permissions,)).said("Permission denied", bad.name)
        done = run(spot, (*BARE, "products", "--keep-going"), (obey_permissions,))
        assert (done.code, "skipped" in done.out, marks(spot)) == (3, True, [other.name])
        part(bad, ending).chmod(0o644)
    assert left(spot) == []
