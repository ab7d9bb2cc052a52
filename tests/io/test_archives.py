"""Archives: a product comes out whole; what is hostile is refused, and nothing lands elsewhere.

ENGINEERING C2.4, C4 row 11.
"""

import gzip
import io
import os
import random
import tarfile
import time
import zipfile

import pytest

from carbonmap.errors import InputError, MissingInput, WriteError
from carbonmap.io import archives
from tests.gf1_products import NAME

TIFF, XML, RPB = f"{NAME}.tiff", f"{NAME}.xml", f"{NAME}.rpb"

CONTENT = {
    TIFF: random.Random(1).randbytes(300_000),
    XML: b"<ProductMetaData/>",
    RPB: b"lineOffset = 1;",
    f"{NAME}.jpg": b"\xff\xd8",
    f"{NAME}_thumb.jpg": b"\xff\xd8",
    "README.txt": b"hello",
}

WANTED = {name: CONTENT[name] for name in (TIFF, XML, RPB)}


def entry(name, size=0, kind=tarfile.REGTYPE, link=""):
    made = tarfile.TarInfo(name)
    made.size, made.type, made.linkname = size, kind, link
    return made


def pack(path, members, mode="w:gz", form=tarfile.PAX_FORMAT):
    """A tar of ``(entry, bytes)`` or of names with bytes."""
    with tarfile.open(path, mode, format=form) as out:
        for name, content in members.items() if isinstance(members, dict) else members:
            head = name if isinstance(name, tarfile.TarInfo) else entry(name, len(content))
            out.addfile(head, io.BytesIO(content))
    return path


def pack_zip(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in members.items():
            out.writestr(name, content)
    return path


def found(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.fixture
def place(tmp_path):
    """A folder for archives and one to unpack into, with nothing else beside them."""
    (tmp_path / "given").mkdir()
    (tmp_path / "temp").mkdir()
    return tmp_path


def refuse(place, archive, says):
    """The archive is refused in these words, and nothing is left of it, here or elsewhere."""
    before = {p.relative_to(place) for p in place.rglob("*")}
    with pytest.raises(InputError, match=says):
        archives.unpack(archive, place / "temp")
    assert {p.relative_to(place) for p in place.rglob("*")} == before


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize(("ending", "mode"), [(".tar.gz", "w:gz"), (".TGZ", "w:gz"),
                                              (".tar", "w")])  # fmt: skip
def test_a_products_parts_come_out_and_the_rest_stays(place, ending, mode, form):
    archive = pack(place / "given" / f"{NAME}{ending}", CONTENT, mode, form)
    folder = archives.unpack(archive, place / "temp")
    assert folder == place / "temp" / NAME
    assert found(folder) == WANTED


def test_a_zip_is_read_too(place):
    archive = pack_zip(place / "given" / f"{NAME}.zip", CONTENT)
    assert found(archives.unpack(archive, place / "temp")) == WANTED


@pytest.mark.parametrize("prefix", ["./", f"{NAME}/", f"2020/八月/{NAME}/"])
def test_folders_inside_are_left_out(place, prefix):
    members = [(entry(prefix.rstrip("/"), kind=tarfile.DIRTYPE), b"")]
    members += [(entry(prefix + n, len(c)), c) for n, c in CONTENT.items()]
    archive = pack(place / "given" / f"{NAME}.tar.gz", members)
    assert found(archives.unpack(archive, place / "temp")) == WANTED


def test_upper_case_endings_and_short_ones_are_parts_and_gdals_notes_are_not(place):
    endings = (".TIF", ".XML", ".RPB", ".tiff.aux.xml", ".aux.xml")
    members = {NAME + ending: b"%d" % i for i, ending in enumerate(endings, 1)} | {"a.xml": b"6"}
    archive = pack(place / "given" / "a.tar.gz", members)
    assert sorted(found(archives.unpack(archive, place / "temp")).values()) == [b"1", b"2", b"3"]


def test_what_a_dead_run_left_or_an_older_one_made_is_replaced(place):
    for name in (NAME, f".{NAME}.partial"):
        (place / "temp" / name).mkdir()
        (place / "temp" / name / "old.xml").write_bytes(b"old")
    archive = pack(place / "given" / f"{NAME}.tar.gz", CONTENT)
    assert found(archives.unpack(archive, place / "temp")) == WANTED
    assert os.listdir(place / "temp") == [NAME]


def test_a_link_that_waits_under_the_name_is_removed_and_not_followed(place):
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.txt").write_text("mine")
    for name in (NAME, f".{NAME}.partial"):
        (place / "temp" / name).symlink_to(elsewhere)
    archive = pack(place / "given" / f"{NAME}.tar.gz", CONTENT)
    assert found(archives.unpack(archive, place / "temp")) == WANTED
    assert os.listdir(elsewhere) == ["mine.txt"]


# Hostile members.

PATHS = [f"../{XML}", f"a/../../{XML}", f"/{XML}", f"/etc/{XML}", f"..\\{XML}", f"C:\\{XML}",
         f"C:{XML}", "a/..", f"{NAME}\n.xml", f"\x1b[2J{XML}"]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_a_path_that_leads_elsewhere_is_refused_by_name(place, path, form):
    archive = pack(place / "given" / "a.tar.gz", {**WANTED, path: b"x"}, form=form)
    refuse(place, archive, r"member '.*' has a path that leads elsewhere")


@pytest.mark.parametrize("path", [p for p in PATHS if "\\" not in p])
def test_in_a_zip_too(place, path):
    archive = pack_zip(place / "given" / "a.zip", {**WANTED, path: b"x"})
    refuse(place, archive, "has a path that leads elsewhere")


@pytest.mark.parametrize("link", [XML, "/etc/passwd", "../../x", "."])
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (tarfile.SYMTYPE, "is a symbolic link"),
        (tarfile.LNKTYPE, "is a link"),
        (tarfile.CHRTYPE, "is a device or pipe"),
        (tarfile.BLKTYPE, "is a device or pipe"),
        (tarfile.FIFOTYPE, "is a device or pipe"),
    ],
)
@pytest.mark.parametrize("name", [RPB, "sub", "README"])
def test_links_devices_and_pipes_are_refused_by_name(place, kind, says, link, name):
    """Also where the name is none of a product's: nobody packs these by mistake."""
    archive = pack(place / "given" / "a.tar.gz", [
        *((entry(n, len(c)), c) for n, c in WANTED.items() if n != name),
        (entry(name, kind=kind, link=link), b""),
    ])  # fmt: skip
    refuse(place, archive, f"member '{name}' {says}")


def test_a_file_through_a_link_that_came_before_it_is_never_written(place):
    archive = pack(place / "given" / "a.tar.gz", [
        (entry("d", kind=tarfile.SYMTYPE, link=str(place)), b""),
        (entry(f"d/{XML}", 1), b"x"),
    ])  # fmt: skip
    refuse(place, archive, "member 'd' is a symbolic link")


def test_a_link_in_a_zip_is_refused(place):
    archive = place / "given" / "a.zip"
    with zipfile.ZipFile(archive, "w") as out:
        info = zipfile.ZipInfo(XML)
        info.create_system, info.external_attr = 3, 0o120777 << 16
        out.writestr(info, "/etc/passwd")
    refuse(place, archive, "is a symbolic link")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_that_is_compressed_in_a_rare_way_is_refused(place, method):
    """Their unpackers know no bound of what they give at a time."""
    archive = place / "given" / "a.zip"
    with zipfile.ZipFile(archive, "w", method) as out:
        for name, content in WANTED.items():
            out.writestr(name, content)
    refuse(place, archive, "compressed in a rare way")


@pytest.mark.parametrize("twin", [XML, f"a/{XML}", XML.upper(), XML.replace(".xml", ".XML")])
def test_one_name_twice_is_refused_whatever_its_case_or_folder(place, twin):
    members = [(entry(n, len(c)), c) for n, c in WANTED.items()] + [(entry(twin, 1), b"x")]
    archive = pack(place / "given" / "a.tar.gz", members)
    refuse(place, archive, f"has the name of '{XML}'")


def test_a_file_with_holes_is_refused(place):
    made = entry(TIFF, 10)
    made.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0",
                        "GNU.sparse.name": TIFF, "GNU.sparse.realsize": "9999999999"}  # fmt: skip
    archive = pack(place / "given" / "a.tar.gz", [(made, b"0\n" + b"\0" * 8)])
    refuse(place, archive, "with holes|cut short|header")


# Bombs.


@pytest.fixture
def bomb(place):
    """A gzip of a header and as many zeros as it states, written block by block."""

    def make(head, zeros, before=WANTED):
        path = place / "given" / "bomb.tar.gz"
        with gzip.open(path, "wb", compresslevel=1) as out:
            for name, content in before.items():
                out.write(entry(name, len(content)).tobuf())
                out.write(content + b"\0" * (-len(content) % 512))
            out.write(head)
            for _ in range(zeros >> 20):
                out.write(b"\0" * (1 << 20))
        return path

    return make


GIGABYTES = 10 << 30


@pytest.mark.parametrize("name", [f"{NAME}.tif", "movie.bin"])
def test_ten_gigabytes_are_refused_by_their_header(place, bomb, name):
    archive = bomb(entry(name, GIGABYTES).tobuf(tarfile.GNU_FORMAT), 32 << 20)
    start = time.perf_counter()
    refuse(place, archive, "10,737,418,240 bytes, more than any image")
    assert time.perf_counter() - start < 5


def test_zeros_that_an_image_may_have_are_too_many_for_so_small_an_archive(place, bomb):
    name = f"{NAME.replace('0371', '0372')}.tiff"
    archive = bomb(entry(name, 1 << 30).tobuf(), 32 << 20)
    refuse(place, archive, "brings its content to .* more than 268,435,456")


def test_many_files_are_too_many_together(place, bomb):
    head = b"".join(entry(f"{i}.bin", 0).tobuf() for i in range(50))
    archive = bomb(head + entry("a.bin", (256 << 20) - 1).tobuf(), 1 << 20)
    refuse(place, archive, "brings its content to")


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_a_header_of_gigabytes_is_not_taken_into_memory(place, bomb, kind):
    archive = bomb(entry("././@Header", 4 << 30, kind).tobuf(), 32 << 20)
    refuse(place, archive, "header has more than 8,192 bytes")


@pytest.mark.parametrize("kind", [b"x", b"g"])
def test_headers_upon_headers_are_refused(place, bomb, kind):
    one = entry("././@Header", 512, kind).tobuf() + b"9 a=bcde\n".ljust(512, b"\0")
    refuse(place, bomb(one * 5000, 0), "header has more than 8,192 bytes|cut short")


def test_zeros_after_the_end_are_not_followed_for_long(place, bomb):
    start = time.perf_counter()
    refuse(place, bomb(b"\0" * 1024, 64 << 20), "goes on after its end")
    assert time.perf_counter() - start < 5


def test_a_hundred_thousand_members_are_too_many(place):
    archive = place / "given" / "a.tar.gz"
    with gzip.open(archive, "wb", compresslevel=1) as out:
        for _ in range(100):
            out.write(entry("a.txt").tobuf() * 1000)
    refuse(place, archive, "more than 100 members")


def test_so_they_are_in_a_zip(place):
    archive = pack_zip(place / "given" / "a.zip", {f"{i}.txt": b"" for i in range(1000)})
    refuse(place, archive, "more than 100 members")


def test_a_zip_whose_header_lies_about_its_size_is_refused(place):
    archive = pack_zip(place / "given" / "a.zip", {XML: b"\0" * 2_000_000})
    content = archive.read_bytes()
    size = (2_000_000).to_bytes(4, "little")
    assert content.count(size) == 2
    archive.write_bytes(content.replace(size, (1000).to_bytes(4, "little")))
    refuse(place, archive, "damaged|larger than its header")


def test_a_zip_of_a_gigabyte_of_zeros_is_refused(place):
    archive = place / "given" / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as out, \
            out.open(TIFF, "w") as into:  # fmt: skip
        for _ in range(300):
            into.write(b"\0" * (1 << 20))
    refuse(place, archive, "brings its content to")


# Damage.


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("ending", [".tar.gz", ".zip"])
def test_an_archive_cut_short_is_refused(place, share, ending):
    archive = place / "given" / f"a{ending}"
    (pack if ending == ".tar.gz" else pack_zip)(archive, CONTENT)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(share * len(content))])
    refuse(place, archive, "cut short|is no archive" if share else "is empty")


def test_a_plain_tar_cut_short_inside_a_file_is_refused(place):
    archive = pack(place / "given" / "a.tar", CONTENT, "w")
    archive.write_bytes(archive.read_bytes()[:200_000])
    refuse(place, archive, "cut short")


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_what_follows_a_damaged_header_is_not_passed_over(place, mode):
    """Python's reader takes a header whose checksum is wrong for the archive's end."""
    plain = pack(place / "given" / "a.tar", CONTENT, "w")
    content = plain.read_bytes()
    second = content.index(XML.encode())
    content = content[:second] + b"X" + content[second + 1 :]
    archive = place / "given" / "b.tar"
    archive.write_bytes(content if mode == "w" else gzip.compress(content))
    refuse(place, archive, "is damaged or goes on after its end")


def test_one_flipped_bit_in_a_gzip_never_passes(place):
    archive = pack(place / "given" / "a.tar.gz", CONTENT)
    content = archive.read_bytes()
    rng = random.Random(3)
    for _ in range(60):
        at = rng.randrange(10, len(content))  # the first ten bytes hold a date and a name
        archive.write_bytes(
            content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]
        )
        refuse(place, archive, "damaged|refused|no archive|cannot be unpacked|no file of")


def test_bytes_of_any_kind_are_refused_in_words(place):
    rng = random.Random(4)
    heads = (b"PK\3\4", b"\x1f\x8b\x08\0", b"PK\5\6", b"", b"BZh9", b"\xfd7zXZ\0")
    for number in range(60):
        archive = place / "given" / f"{number}.tar.gz"
        archive.write_bytes(heads[number % len(heads)] + rng.randbytes(rng.randrange(2000)))
        refuse(place, archive, "archive")


def test_an_archive_of_something_else_says_what_is_wanted(place):
    archive = pack(place / "given" / "a.tar.gz", {"a.txt": b"x"})
    refuse(place, archive, r"holds no file of a GF-1 WFV product, such as GF1_WFV3")


def test_an_empty_archive_is_to_be_fetched_again(place):
    archive = place / "given" / "a.tar.gz"
    archive.write_bytes(b"")
    refuse(place, archive, r"archive '.*a\.tar\.gz' is empty \(0 bytes\); fetch it again")


def test_an_archive_that_is_not_there_is_missing(place):
    with pytest.raises(MissingInput, match="no such file"):
        archives.unpack(place / "a.tar.gz", place / "temp")
    with pytest.raises(InputError, match="is an address"):
        archives.unpack("/vsicurl/http://x/a.tar.gz", place / "temp")


def test_where_nothing_can_be_written_the_place_is_named(place):
    archive = pack(place / "given" / "a.tar.gz", CONTENT)
    (place / "file").write_text("")
    with pytest.raises(WriteError, match="file"):
        archives.unpack(archive, place / "file")
