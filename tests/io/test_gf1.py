"""Products as users have them: folders, archives, single files, hundreds at once."""

import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from carbonmap.errors import InputError, MissingInput
from carbonmap.io import gf1
from tests.gf1_products import HEIGHT, NAME, WIDTH, camera, rpb, write_image, write_product, xml

OTHER = "GF1_WFV2_E103.5_N26.5_20200827_L1A0005020999"


@pytest.fixture
def product(tmp_path):
    """A whole product; its image."""
    return write_product(tmp_path / "given" / NAME)


@pytest.fixture
def unpack(tmp_path):
    return tmp_path / "temp"


def archive(folder, path):
    """The folder's files, flat, as the ground station packs them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as out:
        for part in sorted(folder.iterdir()):
            out.add(part, part.name)
    return path


def test_a_folder_an_archive_and_any_part_are_the_same_product(product, unpack, tmp_path):
    packed = archive(product.parent, tmp_path / f"{NAME}.tar.gz")
    parts = [product.with_suffix(ending) for ending in (".tiff", ".xml", ".rpb")]
    for source in (product.parent, packed, *parts):
        made = gf1.open_product(source, unpack)
        assert (made.scene.id, made.scene.sensor) == (NAME, "WFV3")
        assert made.rpc == camera()
        assert made.source == source
        assert [p.name for p in (made.image, made.xml, made.rpb)] == [p.name for p in parts]
        home = unpack / NAME if source == packed else product.parent
        assert {made.image.parent, made.xml.parent, made.rpb.parent} == {home}
    assert made.scene.notes == ()


@pytest.mark.parametrize(
    "endings", [(".TIFF", ".XML", ".RPB"), (".tif", ".xml", ".RPB"), (".Tiff", ".Xml", ".Rpb")]
)
def test_the_case_of_endings_does_not_matter(tmp_path, unpack, endings):
    image = write_product(tmp_path / "a", endings=endings)
    assert gf1.open_product(tmp_path / "a", unpack).image == image
    assert gf1.open_product(image, unpack).scene.id == NAME


def test_a_product_that_was_renamed_is_still_one(product, unpack):
    for part in list(product.parent.iterdir()):
        part.rename(part.with_name(f"八月 {part.suffix}"))
    assert gf1.open_product(product.parent, unpack).scene.id == "八月 "


def test_other_files_beside_a_product_are_no_matter(product, unpack):
    for name in (
        f"{NAME}.jpg",
        f"{NAME}.tiff.aux.xml",
        f"{NAME}.aux.xml",
        f"._{NAME}.tiff",  # as macOS leaves them on other disks
        f"._{NAME}.xml",
        "dem.tif",
        "notes.xml",
        "a.rpb",
    ):
        (product.parent / name).write_bytes(b"x")
    (product.parent / "sub.tiff").mkdir()
    assert gf1.open_product(product.parent, unpack).image == product


@pytest.mark.parametrize("ending", [".tiff", ".xml", ".rpb"])
def test_a_missing_part_is_named(product, unpack, ending):
    product.with_suffix(ending).unlink()
    left = next(p for p in product.parent.iterdir())
    for source in (product.parent, left):
        with pytest.raises(MissingInput, match=rf"lacks its \{ending}; .* there is only {NAME}"):
            gf1.open_product(source, unpack)


def test_a_part_that_is_there_twice_is_named(product, unpack):
    shutil.copy(product, product.with_suffix(".tif"))
    with pytest.raises(InputError, match=rf"more than one \.tiff: {NAME}.tif, {NAME}.tiff"):
        gf1.open_product(product.parent, unpack)


def test_a_folder_of_two_products_names_both(product, unpack):
    write_product(product.parent, OTHER)
    with pytest.raises(InputError, match=f"holds 2 products, give one: {OTHER}, {NAME}"):
        gf1.open_product(product.parent, unpack)
    assert gf1.open_product(product, unpack).scene.id == NAME


def test_what_is_no_product_says_what_one_is(tmp_path, unpack):
    (tmp_path / "notes.txt").write_text("x")
    for source, says in (
        (tmp_path, "holds no GF-1 WFV product"),
        (tmp_path / "notes.txt", "neither a folder, nor an archive"),
        (tmp_path / "none", "no such file"),
    ):
        with pytest.raises(InputError, match=says):
            gf1.open_product(source, unpack)


def test_an_image_of_another_size_is_told_with_both(product, unpack):
    write_image(product, height=HEIGHT - 1)
    says = rf"{HEIGHT - 1} × {WIDTH} px .* its XML says {HEIGHT} × {WIDTH}"
    with pytest.raises(InputError, match=says):
        gf1.open_product(product, unpack)


KINDS = [
    ({"count": 3}, r"has 3 band\(s\) of uint16"),
    ({"dtype": "uint8"}, r"has 4 band\(s\) of uint8"),
]


@pytest.mark.parametrize(("more", "says"), KINDS)
def test_an_image_of_another_kind_is_told(product, unpack, more, says):
    write_image(product, **more)
    with pytest.raises(InputError, match=says):
        gf1.open_product(product, unpack)


def test_view_angles_that_the_camera_contradicts_are_a_note(product, unpack):
    product.with_suffix(".xml").write_bytes(xml(SatelliteAzimuth="101.853"))
    (note,) = gf1.open_product(product, unpack).scene.notes
    assert "the satellite stood 17° away from where it stood by the RPB" in note


@pytest.mark.parametrize("ending", [".xml", ".rpb"])
def test_a_large_text_is_not_read(product, unpack, ending):
    with product.with_suffix(ending).open("wb") as out:
        out.truncate(1 << 40)  # a file of holes
    with pytest.raises(InputError, match=r"has 1,099,511,627,776 bytes"):
        gf1.open_product(product, unpack)


# Many products.


def test_hundreds_in_folders_and_archives_are_found_once_each_and_in_order(tmp_path, unpack):
    land = tmp_path / "province"
    names = [f"GF1_WFV3_E103.5_N26.5_20200827_L1A00050{i:05}" for i in range(6)]
    loose = [write_product(land / names[0], names[0]), write_product(land / "more", names[1]),
             write_product(land / "more", names[2])]  # fmt: skip
    scratch = write_product(tmp_path / "scratch", names[3]).parent
    packed = [archive(scratch, land / "packed" / "deep" / f"{names[3]}.tar.gz"),
              archive(loose[0].parent, land / f"{names[0]}.tar.gz"),
              archive(scratch, land / ".partial" / f"{names[4]}.tar.gz")]  # fmt: skip
    (land / "GF1_PMS1_E103.5_N26.5_20200827_L1A0005020371.tar.gz").write_bytes(b"x")
    (land / "dem.tif").write_bytes(b"x")
    found = gf1.find_products(land)
    assert found == [*loose, packed[0]]
    assert [gf1.open_product(p, unpack).scene.id for p in found] == names[:4]


def test_a_product_that_lacks_a_part_is_found_and_then_refused_not_passed_over(product, unpack):
    product.with_suffix(".rpb").unlink()
    (found,) = gf1.find_products(product.parent.parent)
    with pytest.raises(MissingInput, match=r"lacks its \.rpb"):
        gf1.open_product(found, unpack)


def test_an_archive_is_taken_where_only_a_part_of_it_lies_beside(product):
    packed = archive(product.parent, product.parent.parent / f"{NAME}.tar.gz")
    product.unlink()
    assert gf1.find_products(product.parent.parent) == [packed]


def test_a_scene_that_is_named_in_several_forms_counts_once(product, tmp_path):
    packed = archive(product.parent, tmp_path / "packed" / f"{NAME}.tar.gz")
    assert gf1.find_all([packed, product.parent]) == [product]
    assert gf1.find_all([product.parent, packed.parent]) == [product]
    assert gf1.find_all([product, product.with_suffix(".xml"), tmp_path]) == [product]
    other = write_product(tmp_path / "given" / OTHER, name=OTHER)
    assert gf1.find_all([packed, other, product.parent]) == [product, other]
    copied = shutil.copytree(product.parent, tmp_path / "copied") / product.name
    assert gf1.find_all([product.parent, copied]) == [product, copied]  # perhaps it is another
    shutil.rmtree(tmp_path / "copied")
    (product.parent / f"{NAME}.tiff.aux.xml").write_text("GDAL's, not a part")
    for part in (".xml", ".rpb"):
        product.with_suffix(part).unlink()
        assert gf1.find_all([product, packed]) == [packed]


@pytest.mark.faults
def test_a_folder_that_may_not_be_searched_is_named_and_not_passed_over(tmp_path):
    (tmp_path / "products" / "closed").mkdir(parents=True)
    write_product(tmp_path / "products" / "open")
    for mode in (0o000, 0o444):  # which may not be listed, or of which nothing may be looked at
        write_product(tmp_path / "products" / "closed")
        (tmp_path / "products" / "closed").chmod(mode)
        found = subprocess.run(
            [sys.executable, "-c", SEARCH, tmp_path / "products"],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        (tmp_path / "products" / "closed").chmod(0o755)
        assert "InputError: folder" in found.stderr, found
        assert "closed" in found.stderr


ROOT = Path(__file__).parents[2]

SEARCH = """
import sys
from pathlib import Path
from tests.faults.harm import obey_permissions
from carbonmap.io import gf1
obey_permissions()
print(gf1.find_products(Path(sys.argv[1])))
"""


def test_a_file_stands_for_itself_and_nothing_for_nothing(product, tmp_path):
    assert gf1.find_products(product) == [product]
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingInput, match="holds no GF-1 WFV product; give folders or archives"):
        gf1.find_products(tmp_path / "empty")
    with pytest.raises(MissingInput, match="no such file"):
        gf1.find_products(tmp_path / "none")


def test_archives_of_other_names_are_left_aside_and_told(product, tmp_path):
    odd = archive(product.parent, tmp_path / "deep" / "二月 影像.tar.gz")
    archive(product.parent, tmp_path / "deep" / f"{OTHER}.tar.gz")
    (tmp_path / "deep" / "._notes.zip").write_bytes(b"x")  # as macOS leaves them
    assert gf1.left_aside([tmp_path, tmp_path]) == [odd]
    assert gf1.left_aside([odd, product]) == []  # named: refused by its name, not left aside
    (tmp_path / "deep" / f"{OTHER}.tar.gz").unlink()
    with pytest.raises(MissingInput, match=r"archives such as GF1_\S+, not 二月 影像\.tar\.gz"):
        gf1.find_products(tmp_path / "deep")


# Provenance.


def test_a_product_is_known_again_without_unpacking_it(product, unpack, tmp_path):
    packed = archive(product.parent, tmp_path / f"{NAME}.tar.gz")
    name, held = gf1.identify(product.parent)
    assert (name, set(held)) == (NAME, {"image", "xml", "rpb"})
    assert gf1.identify(product) == (name, held)
    assert json.loads(json.dumps(held)) == held
    whole = gf1.identify(packed)
    assert (whole[0], set(whole[1])) == (NAME, {"archive"})
    assert not unpack.exists()
    product.with_suffix(".rpb").write_text(rpb(camera(lean=0.14)))
    assert gf1.identify(product)[1] != held


@pytest.mark.parametrize("name", ["场景", f"{NAME} (1)", NAME.lower()])
def test_a_product_under_another_name_would_be_a_second_scene_and_is_refused(
    product, tmp_path, name
):
    packed = archive(product.parent, tmp_path / f"{name}.tar.gz")
    for file in list(product.parent.iterdir()):
        file.rename(file.with_name(f"{name}{file.suffix}"))
    for source in (product.parent, product.with_name(f"{name}.tiff"), packed):
        with pytest.raises(InputError, match="sensor, place, day and product number, as in GF1_"):
            gf1.identify(source)


def test_an_empty_image_is_to_be_fetched_again(product, unpack):
    product.write_bytes(b"")
    with pytest.raises(InputError, match=r"is empty \(0 bytes\); fetch it again"):
        gf1.open_product(product, unpack)


def test_what_cannot_be_opened_cannot_be_identified(product, tmp_path):
    product.with_suffix(".rpb").unlink()
    with pytest.raises(MissingInput, match=r"lacks its \.rpb"):
        gf1.identify(product.parent)
    with pytest.raises(MissingInput, match="no such file"):
        gf1.identify(tmp_path / "none.tar.gz")
