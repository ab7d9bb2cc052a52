"""A product's files out of its archive, and nothing else, and nowhere else.

Python's own filter for tar archives could be passed by (CVE-2025-4517), so nothing is left to it:
members are looked at one by one, only plain files with a product's name are written, under that
bare name, into a folder that was made for them (ENGINEERING C2.4). A member that only an attacker
or a broken program would pack stops everything; a plain file of another kind is passed over.
"""

from __future__ import annotations

import gzip
import io
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, cast

from carbonmap.errors import CarbonmapError, InputError
from carbonmap.io import files

ENDINGS = (".tar.gz", ".tgz", ".tar", ".zip")
"""Names by which archives are known."""

MEMBER = re.compile(
    r"GF1_WFV[1-4]_[A-Za-z0-9][A-Za-z0-9._+-]{0,150}(?<!\.aux)\.(?:tiff?|xml|rpb)",
    re.ASCII | re.IGNORECASE,
)
"""Bare names that are wanted: an image, its metadata and its camera. GDAL's ``.aux.xml`` is not."""

MOST_MEMBERS = 100
"""A product has six or seven files."""

MOST_MEMBER_BYTES = 4 << 30
"""What a plain TIFF can hold; a WFV image has 1.3 GB."""

MOST_BYTES = 6 << 30
"""Of all members together."""

MOST_GROWTH = 200
"""Times that the content may be larger than the archive, past `SMALL_BYTES`. Images pack to a half
or a third; zeros, to a thousandth."""

SMALL_BYTES = 256 << 20
"""Content that is let through however well it packed."""

MOST_HEADER_BYTES = 8 << 10
"""That a tar may spend on headers before one member: its own 512, a long name, a list of
attributes. Python reads all of them into memory, and searches them in quadratic time."""

PADDING_BYTES = 16 << 20
"""Zeros after a tar's last member; programs fill up 10 kB, tape drives some megabytes."""

CHUNK = 1 << 20
"""Bytes written at a time."""

BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, gzip.BadGzipFile)
"""What the libraries raise of an archive that is damaged or cut short."""


@dataclass(frozen=True)
class _Member:
    """One entry: what it is called, how large it says it is, what else it is, and its bytes."""

    name: str
    size: int
    kind: str
    open: Callable[[], IO[bytes] | None]


def is_archive(path: Path) -> bool:
    """Whether a name is an archive's."""
    return path.name.lower().endswith(ENDINGS)


def stem(path: Path) -> str:
    """An archive's name without its ending."""
    ending = next((e for e in ENDINGS if path.name.lower().endswith(e)), "")
    return path.name[: len(path.name) - len(ending)]


def unpack(path: Path, into: Path) -> Path:
    """Extract a product into ``into / stem``, which holds all of its files or is not there.

    Args:
        path: a ``.tar.gz``, ``.tgz``, ``.tar`` or ``.zip``, known by its content.
        into: a folder of the caller's own for temporary files. What stands there under the
            archive's name, from before or from a run that died, is replaced.

    Returns:
        The folder; its files have no folders between them.

    Raises:
        MissingInput: there is no such archive.
        InputError: it is none, is damaged, holds no product, or holds what no product does: a link,
            a device, a path that leads elsewhere, one name twice, more or larger files than any.
        WriteError: the disk is full or cannot be written to.
    """
    found = files.existing(path, "archive")
    files.require_bytes(found, "archive")
    final = into / stem(found)
    begun = into / f".{stem(found)}.partial"
    with files.writing(final):
        for old in (begun, final):
            _remove(old)
        begun.mkdir(parents=True)
        try:
            _extract(found, begun)
            begun.rename(final)
        finally:
            _remove(begun)
    return final


def _remove(path: Path) -> None:
    """Remove what has that name; of a link the link, never what it leads to."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def _extract(path: Path, folder: Path) -> None:
    """Write the wanted members into an empty folder.

    Raises:
        InputError: see `unpack`.
    """
    left = _Budget(path)
    taken: dict[str, str] = {}
    try:
        with path.open("rb") as stream:
            for member in _members(stream, left):
                bare = _bare_name(member, path)
                left.announce(member)
                if bare is None or not MEMBER.fullmatch(bare):
                    continue
                if (twin := taken.setdefault(bare.lower(), member.name)) is not member.name:
                    raise _refused(path, member.name, f"has the name of {twin!r}")
                _write(member, folder / bare, left)
    except BROKEN as error:
        raise InputError(
            f"archive {str(path)!r} is damaged or cut short ({error}); fetch it again"
        ) from None
    except (NotImplementedError, RuntimeError, ValueError, OverflowError) as error:
        if isinstance(error, CarbonmapError):
            raise
        raise InputError(
            f"archive {str(path)!r} cannot be unpacked ({error}); pack it anew as .tar.gz"
        ) from None
    if not taken:
        raise InputError(
            f"archive {str(path)!r} holds no file of a GF-1 WFV product, such as "
            f"GF1_WFV3_E103.7_N25.6_20200827_L1A0005020371.tiff"
        )


def _write(member: _Member, target: Path, left: _Budget) -> None:
    """Write one member to a name that is not there yet."""
    source = member.open()
    if source is None:
        raise _refused(left.path, member.name, "is no plain file")
    count = 0
    with source, target.open("xb") as out:
        while block := source.read(CHUNK):
            count += len(block)
            left.spend(count, member)
            out.write(block)
    if count != member.size:
        raise EOFError(f"{member.name!r} has {count} bytes of {member.size}")


class _Budget:
    """How many members and bytes an archive may still bring."""

    def __init__(self, path: Path) -> None:
        self.path, self.members, self.announced = path, 0, 0
        grown = MOST_GROWTH * path.stat().st_size
        self.most = min(MOST_BYTES, max(SMALL_BYTES, grown))

    def announce(self, member: _Member) -> None:
        """Count a member by what its header says.

        Raises:
            InputError: it is one too many, or too large, or too much with those before it.
        """
        self.members += 1
        if self.members > MOST_MEMBERS:
            raise InputError(
                f"archive {str(self.path)!r} has more than {MOST_MEMBERS} members; a product has "
                f"seven: give each product's own archive"
            )
        if not 0 <= member.size <= MOST_MEMBER_BYTES:
            raise _refused(
                self.path, member.name, f"has {member.size:,} bytes, more than any image of WFV"
            )
        self.announced += member.size
        if self.announced > self.most:
            raise _refused(
                self.path,
                member.name,
                f"brings its content to {self.announced:,} bytes, more than {self.most:,}, which "
                f"an archive of its size may have",
            )

    def spend(self, count: int, member: _Member) -> None:
        """Compare what a member has given with what its header said.

        Raises:
            InputError: it gives more.
        """
        if count > member.size:
            raise _refused(self.path, member.name, "is larger than its header says")


def _bare_name(member: _Member, path: Path) -> str | None:
    """The name without folders; None for a folder.

    Raises:
        InputError: the name leads elsewhere, or the member is no plain file.
    """
    name = member.name
    parts = name.split("/")
    if name.startswith("/") or ".." in parts or re.search(r"[\\\x00-\x1f\x7f]|^[A-Za-z]:", name):
        raise _refused(path, name, "has a path that leads elsewhere")
    if member.kind == "folder":
        return None
    if member.kind != "file":
        raise _refused(path, name, f"is a {member.kind}")
    return parts[-1]


def _refused(path: Path, name: str, why: str) -> InputError:
    return InputError(
        f"archive {str(path)!r} is refused: member {name[:200]!r} {why}; no GF-1 product is packed "
        f"like that: fetch it from where you trust it"
    )


def _members(stream: IO[bytes], left: _Budget) -> Iterator[_Member]:
    """The members of an archive in turn, by its first bytes.

    Raises:
        InputError: it is neither a tar, a gzipped tar, nor a zip.
    """
    head = stream.read(512)
    stream.seek(0)
    if head.startswith(b"PK\3\4"):
        yield from _zip_members(stream)
    elif head.startswith(b"\x1f\x8b"):
        with gzip.GzipFile(fileobj=stream) as unzipped:
            yield from _tar_members(cast("IO[bytes]", unzipped), left)
    elif head[257:262] == b"ustar":
        yield from _tar_members(stream, left)
    else:
        raise InputError(
            f"{str(left.path)!r} is no archive that carbonmap reads; give a .tar.gz, .tar or .zip"
        )


def _tar_members(stream: IO[bytes], left: _Budget) -> Iterator[_Member]:
    metered = _Metered(stream, left)
    # not 'with': closing a tar that is read does nothing
    archive = tarfile.TarFile(fileobj=cast("IO[bytes]", metered), errorlevel=2)
    while (entry := archive.next()) is not None:
        metered.in_header = False
        yield _Member(entry.name, entry.size, _tar_kind(entry), partial(archive.extractfile, entry))
        metered.in_header, metered.header_bytes = True, 0
    rest = 0
    while block := stream.read(CHUNK):  # to the end, where gzip compares its checksum
        if (rest := rest + len(block)) > PADDING_BYTES or any(block):
            raise InputError(
                f"archive {str(left.path)!r} is damaged or goes on after its end; fetch it again"
            )


def _tar_kind(entry: tarfile.TarInfo) -> str:
    if entry.issparse():
        return "file with holes"
    if entry.isreg():
        return "file"
    kinds = (("folder", entry.isdir()), ("symbolic link", entry.issym()), ("link", entry.islnk()))
    return next((name for name, holds in kinds if holds), "device or pipe")


def _zip_members(stream: IO[bytes]) -> Iterator[_Member]:
    with zipfile.ZipFile(stream) as archive:
        for entry in archive.infolist():
            kind = "folder" if entry.is_dir() else "file"
            mode = stat.S_IFMT(entry.external_attr >> 16)
            if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
                kind = "symbolic link" if mode == stat.S_IFLNK else "device or pipe"
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise NotImplementedError(f"{entry.filename[:200]!r} is compressed in a rare way")
            yield _Member(entry.filename, entry.file_size, kind, partial(archive.open, entry))


class _Metered(io.RawIOBase):
    """A tar's bytes, of which no header may take a heap, and which end where the budget ends.

    Python's reader takes whatever length a header states into memory, and runs over what is skipped
    however long that is.
    """

    def __init__(self, stream: IO[bytes], left: _Budget) -> None:
        self.stream, self.left = stream, left
        self.in_header, self.header_bytes = True, 0
        self.most = left.most + MOST_MEMBERS * (MOST_HEADER_BYTES + tarfile.RECORDSIZE)

    def _check(self, end: int) -> None:
        if end > self.most:
            raise InputError(
                f"archive {str(self.left.path)!r} is refused: it states more than {self.most:,} "
                f"bytes of content"
            )

    def read(self, size: int = -1) -> bytes:
        if self.in_header:
            self.header_bytes += size
            if not 0 <= self.header_bytes <= MOST_HEADER_BYTES:
                raise InputError(
                    f"archive {str(self.left.path)!r} is refused: a member's header has more than "
                    f"{MOST_HEADER_BYTES:,} bytes"
                )
        self._check(self.stream.tell() + size)
        return self.stream.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._check(offset)
        return self.stream.seek(offset, whence)

    def tell(self) -> int:
        return self.stream.tell()

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True
