"""A Shapefile's parts: whether they are all there and whole, and what its text is written in."""

from __future__ import annotations

import codecs
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from carbonmap.errors import InputError, MissingInput

PARTS = (".shp", ".shx", ".dbf", ".prj", ".cpg")
"""What a Shapefile consists of; the last two may be missing."""

HEADER = 100
"""Bytes of the header of a .shp and .shx; an index record has 8."""

LANGUAGE = {0x4D: "gb18030", 0x4F: "cp950", 0x13: "cp932", 0x7B: "cp932", 0x4E: "cp949"}
"""Code pages of the DBF language byte that mean what they say (GBK, Big5, Shift-JIS, Korean); the
Western ones are written by programs that never looked."""

WIDER = {"gbk": "gb18030", "gb2312": "gb18030", "cp936": "gb18030"}
"""GB 18030 reads all that GBK and GB 2312 can hold, and the rare characters beyond."""

GB2312 = re.compile(rb"(?:[\x00-\x7f]|[\xa1-\xf7][\xa1-\xfe])*")
"""Bytes as Chinese text has them: high ones in pairs; Western accents mostly stand alone."""


@dataclass(frozen=True)
class Encoding:
    """What a file's text is written in, and who says so.

    Args:
        codec: Python's name; None where nothing says it.
        origin: who says so, for messages.
    """

    codec: str | None
    origin: str


def parts(path: Path) -> dict[str, Path]:
    """The Shapefile's files by suffix, whatever the case in which the suffix is written."""
    siblings = {p.suffix.lower(): p for p in path.parent.iterdir() if p.stem == path.stem}
    return {suffix: siblings[suffix] for suffix in PARTS if suffix in siblings} | {".shp": path}


def require_whole(path: Path) -> None:
    """Refuse a Shapefile of which a part is missing or cut short, before anything is read.

    GDAL reads a truncated .shp as stands without outline and says nothing (ENGINEERING A1).

    Raises:
        MissingInput: the .shx or the .dbf is not there.
        InputError: a part is shorter than its header says, or the parts disagree.
    """
    found = parts(path)
    for suffix, what in ((".shx", "index"), (".dbf", "attributes")):
        if suffix not in found:
            raise MissingInput(
                f"Shapefile {str(path)!r} lacks its {suffix} ({what}); copy all of the Shapefile's "
                f"parts ({', '.join(PARTS)}) into one folder"
            )
    records = _index_records(found[".shx"])
    _require_length(found[".shp"], _shape_length(found[".shp"]), f"of {records} stands")
    count, header, length = _dbf_layout(found[".dbf"])
    _require_length(found[".dbf"], header + count * length, f"of {count} records")
    if records != count:
        raise InputError(
            f"Shapefile {str(path)!r} has {records} outlines and {count} records of attributes; "
            f"its parts do not belong together, or one is cut short: copy it again"
        )


def _require_length(path: Path, want: int, what: str) -> None:
    have = path.stat().st_size
    if have < want:
        raise InputError(
            f"Shapefile part {str(path)!r} is cut short: {have} of {want} bytes {what}; "
            f"copy it again"
        )


def _head(path: Path, size: int) -> bytes:
    with path.open("rb") as stream:
        head = stream.read(size)
    if len(head) < size:
        raise InputError(f"Shapefile part {str(path)!r} is cut short; copy it again")
    return head


def _shape_length(path: Path) -> int:
    """Bytes that the header of a .shp or .shx promises (it counts 16-bit words)."""
    (words,) = struct.unpack(">i", _head(path, HEADER)[24:28])
    return 2 * int(words)


def _index_records(path: Path) -> int:
    length = _shape_length(path)
    _require_length(path, length, "of the index")
    return (length - HEADER) // 8


def _dbf_layout(path: Path) -> tuple[int, int, int]:
    """Records, header bytes and record bytes of a .dbf."""
    count, header, length = struct.unpack("<IHH", _head(path, 32)[4:12])
    return int(count), int(header), int(length)


def encoding(path: Path, given: str | None) -> Encoding:
    """What the text is written in: the user's word, else the .cpg, else the .dbf's language byte.

    Raises:
        InputError: the user or the .cpg names an encoding that does not exist.
    """
    if given is not None:
        return Encoding(_codec(given, "--encoding"), "--encoding")
    found = parts(path)
    if ".cpg" in found:
        text = found[".cpg"].read_text("ascii", errors="replace").strip("\ufeff\x00 \r\n\t")
        if text:
            return Encoding(_codec(text, found[".cpg"].name), found[".cpg"].name)
    language = LANGUAGE.get(_head(found[".dbf"], 32)[29])
    return Encoding(language, "the .dbf's language byte" if language else "nothing")


def _codec(text: str, origin: str) -> str:
    """Python's codec for a name as users and .cpg files write it (GBK, 936, ANSI 936, 88591)."""
    name = re.sub(r"^(ansi|oem)[ _-]*", "", text.strip().lower())
    name = re.sub(r"^(?:iso[ _-]*)?8859[ _-]?(\d+)$", r"iso8859-\1", name)
    for candidate in (name, f"cp{name}"):
        try:
            found = codecs.lookup(candidate).name
        except LookupError:
            continue
        return WIDER.get(found, found)
    raise InputError(
        f"{origin} says that the text is in {text!r}, which is no known encoding; "
        f"give --encoding GBK or --encoding UTF-8"
    )


def decode(
    values: Iterable[bytes], told: Encoding, path: Path
) -> tuple[dict[bytes, str], set[str]]:
    """Texts of a file, each distinct one once.

    A .dbf field may cut its text in the middle of a character; the cut character is left out.

    Args:
        values: distinct raw values.
        told: what the file says its encoding is.
        path: for messages.

    Returns:
        Text of every value, and notes on what was guessed or cut.

    Raises:
        InputError: the text cannot be what the file or the user says, or nothing says what it is.
    """
    codec = told.codec or "utf-8"
    texts, cut, wrong = {}, 0, []
    for raw in values:
        text, whole = _decode(raw, codec)
        if text is None:
            wrong.append(raw)
        else:
            texts[raw] = text
            cut += not whole
    if wrong:
        raise InputError(_misread(wrong[0], told, path))
    notes = {f"{cut} texts end in the middle of a character, which was left out"} if cut else set()
    high = [raw for raw in texts if not raw.isascii()]
    if high and told.codec is None:
        notes.add("no .cpg names the encoding; the text reads as UTF-8")
    western = codec.startswith(("iso8859", "cp125", "latin"))
    if high and western and all(GB2312.fullmatch(raw) for raw in high):
        notes.add(
            f"{told.origin} says {codec}, but the text looks Chinese "
            f"({texts[high[0]]!r} would read {high[0].decode('gb18030', 'replace')!r}); "
            f"if so, give --encoding GBK"
        )
    return texts, notes


def _decode(raw: bytes, codec: str) -> tuple[str | None, bool]:
    """The text, and whether it is whole; None where the codec cannot have written it."""
    try:
        return raw.decode(codec), True
    except UnicodeDecodeError as error:
        if "incomplete" in error.reason or "unexpected end" in error.reason:
            return raw[: error.start].decode(codec), False
        return None, False


def _misread(raw: bytes, told: Encoding, path: Path) -> str:
    """Why the text cannot be read, and how it would read in the usual encodings."""
    readings = []
    for name in ("GBK", "UTF-8", "Big5", "ISO-8859-1"):
        text, _ = _decode(raw, _codec(name, "--encoding"))
        if text is not None:
            readings.append(f"{name}: {text!r}")
    said = f"{told.origin} says {told.codec}" if told.codec else "it has no .cpg to say what it is"
    return (
        f"the text of Shapefile {str(path)!r} cannot be read: {said}, and {raw!r} is not "
        f"{told.codec or 'UTF-8'}; choose with --encoding the name that reads well: "
        + "; ".join(readings)
    )
