"""Products that were harmed on their way, or by somebody: each is refused, and nothing is opened
that was not named.

ENGINEERING C4, rows 6, 8, 10, 12 and 13; archives (row 11) are in tests/io/test_archives.py.
"""

import contextlib
import resource
import shutil

import pytest
import rasterio
from rasterio.transform import from_origin

from carbonmap.errors import CarbonmapError, InputError, MissingInput
from carbonmap.io import gf1
from tests.gf1_products import HEIGHT, WIDTH, camera, real, rpb, write_image, write_product, xml

pytestmark = pytest.mark.faults


@pytest.fixture
def product(tmp_path):
    return write_product(tmp_path / "given")


@pytest.fixture
def unpack(tmp_path):
    return tmp_path / "temp"


def refuse(product, unpack, says, kind=InputError):
    with pytest.raises(kind, match=says):
        gf1.open_product(product, unpack)


def test_a_camera_that_is_missing_garbled_or_of_another_scene_is_refused(product, unpack):
    """Row 8."""
    path = product.with_suffix(".rpb")
    for text, says in (
        (rpb()[:900], r"RPB .* lacks .*Coef"),
        (rpb().replace("lineNumCoef", "lineNumXoef"), "lacks lineNumCoef"),
        ("", "lacks .*lineNumCoef, lineDenCoef"),
        (rpb(camera(lat=28.0)), "puts a corner 167 km away from where the XML has it"),
        (rpb(camera(height=6000, width=6000)), "puts a corner 6. km away|pixels of"),
        (real(".rpb").read_text(), "RPB of GF1_WFV3_E103"),
    ):
        path.write_text(text)
        refuse(product, unpack, says)
    path.write_bytes(rpb().encode().replace(b"latScale", b"\xff\xfe\x00"))
    refuse(product, unpack, "lacks latScale")
    path.unlink()
    refuse(product, unpack, r"lacks its \.rpb", MissingInput)


def test_metadata_that_lack_a_field_or_hide_a_bomb_are_refused_with_field_and_file(product, unpack):
    """Row 10."""
    path = product.with_suffix(".xml")
    path.write_bytes(xml(SolarZenith=None))
    refuse(product, unpack, rf"'{path.name}': SolarZenith is missing")
    path.write_bytes(xml().replace(b"WFV3", "密云".encode("gbk")))
    refuse(product, unpack, rf"'{path.name}': .*its bytes are not utf-8")
    laughs = b"".join(b'<!ENTITY a%d "%s">' % (i, b"&a%d;" % (i - 1) * 10) for i in range(1, 10))
    bomb = b'<!DOCTYPE x [<!ENTITY a0 "ha">' + laughs + b"]>"
    path.write_bytes(xml(CloudPercent="&amp;").replace(b"&amp;", b"&a9;").replace(
        b"<ProductM", bomb + b"<ProductM", 1))  # fmt: skip
    refuse(product, unpack, "DOCTYPE or entities")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.3])
def test_an_image_cut_short_never_crashes_and_is_refused_where_its_head_is_gone(
    product, unpack, share
):
    """Row 6: what opens is read later, line by line, and refused there."""
    content = product.read_bytes()
    product.write_bytes(content[: int(share * len(content))])
    if share * len(content) < 8:
        refuse(product, unpack, "is not a GeoTIFF" if share else "is empty")
    else:
        with contextlib.suppress(CarbonmapError):  # any other error is a crash
            gf1.open_product(product, unpack)


VRT = (
    '<VRTDataset rasterXSize="{w}" rasterYSize="{h}"><VRTRasterBand dataType="UInt16" band="1">'
    '<SimpleSource><SourceFilename relativeToVRT="0">{source}</SourceFilename></SimpleSource>'
    "</VRTRasterBand></VRTDataset>"
)

MRF = "<MRF_META><CachedSource><Source>{source}</Source></CachedSource></MRF_META>"

WMS = "<GDAL_WMS><Service name='TMS'><ServerUrl>{source}</ServerUrl></Service></GDAL_WMS>"


@pytest.mark.parametrize("text", [VRT, MRF, WMS])
@pytest.mark.parametrize("target", ["/vsicurl/{url}/a.tif", "{url}/a.tif", "{file}"])
def test_a_text_that_points_elsewhere_under_an_images_name_opens_nothing(
    product, unpack, tmp_path, listener, text, target
):
    """Row 12: GDAL goes by content, whatever the name."""
    url, hits = listener
    private = write_image(tmp_path / "private.tif")
    source = target.format(url=url, file=private)
    product.write_text(text.format(w=WIDTH, h=HEIGHT, source=source))
    refuse(product, unpack, "is not a GeoTIFF")
    assert hits == []


def test_an_image_that_states_terabytes_is_refused_before_it_is_read(product, unpack):
    """Row 13: a sparse file of 17 TB on paper, within a limit of 2 GB more memory than now."""
    small = product.stat().st_size
    product.unlink()
    write_image_sparse(product)
    assert product.stat().st_size < 200 * small
    limits = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as status:
        now = int(status.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + (2 << 30), limits[1]))
    try:
        refuse(product, unpack, r"1500000 × 1500000 px .* its XML says 60 × 50")
        product.with_suffix(".xml").write_bytes(
            xml(WidthInPixels="1500000", HeightInPixels="1500000")
        )
        refuse(product, unpack, "HeightInPixels is '1500000'; want a number from 1 to 32768 px")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def write_image_sparse(path):
    """A GeoTIFF of 1.5 million pixels a side without a single block in it."""
    with rasterio.open(
        path, "w", driver="GTiff", height=1_500_000, width=1_500_000, count=4, dtype="uint16",
        sparse_ok=True, tiled=True, blockxsize=16384, blockysize=16384, bigtiff="YES",
        transform=from_origin(0, 0, 2, 2),
    ):  # fmt: skip
        pass


def test_nothing_is_written_beside_what_a_user_gave(product, unpack):
    before = sorted(p.name for p in product.parent.iterdir())
    gf1.open_product(product, unpack)
    shutil.rmtree(unpack, ignore_errors=True)
    gf1.find_products(product.parent)
    assert sorted(p.name for p in product.parent.iterdir()) == before
    assert not unpack.exists()
