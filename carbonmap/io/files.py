"""Files that are whole or absent: partial name, verify, fsync, rename."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import math
import os
import platform
import shutil
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from carbonmap.errors import CarbonmapError, CorruptData, InputError, MissingInput, WriteError
from carbonmap.types import Json

CHUNK = 1 << 20
"""Bytes read at a time when hashing."""

SAMPLE, SAMPLES = 1 << 16, 64
"""Bytes and number of a fingerprint's samples, evenly from a file's first byte to its last."""

CONTESTED = "-by-"
"""What stands in a partial's name before the process that writes it, where several may."""

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where a disk, a quota or a process' limit of a file is reached."""

LONGEST_STEM = 200
"""Bytes of a name kept in its partial's: file systems allow 255, and ``.partial``, the ending and
what GDAL appends (``.ovr.tmp``) need the rest."""


def existing(path: str | Path, what: str) -> Path:
    """The path of a regular local file that a user named.

    Raises:
        MissingInput: there is nothing, or it is not a file.
        InputError: the name is a GDAL virtual path or an address, which we never open.
    """
    text = str(path)
    if "://" in text or text.startswith(("/vsi", "\\vsi")):
        raise InputError(
            f"{what} {text!r} is an address, not a file on this machine; copy it here first"
        )
    found = Path(path)
    require_readable_name(found, what)
    if not found.is_file():
        hint = "it is a folder" if found.is_dir() else "there is no such file"
        raise MissingInput(f"{what} {text!r} cannot be read: {hint}; give the path of a file")
    return found


def require_bytes(path: Path, what: str) -> None:
    """Refuse an empty file, such as a download leaves that failed at once.

    Raises:
        InputError: it has no byte.
    """
    if not path.stat().st_size:
        raise InputError(f"{what} {str(path)!r} is empty (0 bytes); fetch it again")


def require_readable_name(path: Path, what: str) -> None:
    """Refuse a name that GDAL and JSON cannot spell.

    Raises:
        InputError: its bytes are not UTF-8, as after unpacking a GBK archive on Linux.
    """
    full = str(path.absolute())
    try:
        full.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{what} {full!a} has a name that is not UTF-8; rename it (convmv -f gbk -t utf-8 "
            f"does so for names from Chinese Windows), or set LC_ALL=C.UTF-8 where it is UTF-8"
        ) from None


def crc32(path: Path) -> int:
    """Checksum of a file's bytes, against accidents."""
    return zlib.crc32(path.read_bytes())


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()


def fingerprint(path: Path) -> Json:
    """Name, size and a hash of samples by which a large file is known again in milliseconds.

    Another product, a cut one or one under way differ everywhere or in size; a flipped bit between
    the samples is told by whoever reads the file, not by this.
    """
    size = existing(path, "file").stat().st_size
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for number in range(SAMPLES):
            stream.seek(max(size - SAMPLE, 0) * number // (SAMPLES - 1))
            digest.update(stream.read(SAMPLE))
    return {"name": path.name, "size": size, "sampled_sha256": digest.hexdigest()}


def describe(path: Path) -> Json:
    """Size and hash by which a file is known again."""
    return {"size": path.stat().st_size, "sha256": sha256(path)}


def sync_file(path: Path) -> None:
    """Force a file's bytes to the disk."""
    with path.open("r+b") as stream:
        os.fsync(stream.fileno())


def sync_folder(path: Path) -> None:
    """Force a folder's entries to the disk; Windows has no such call and needs none."""
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_tree(path: Path) -> None:
    """Force everything below a folder to the disk, so that renaming the folder publishes it."""
    for folder, _, names in os.walk(path, topdown=False):
        for name in names:
            sync_file(Path(folder) / name)
        sync_folder(Path(folder))


def publish(partial: Path, final: Path) -> None:
    """Give a finished file its name: fsync, rename, fsync the folder, in that order.

    After a power loss there is the old file or the new one, never half of either.
    """
    sync_file(partial)
    os.replace(partial, final)
    sync_folder(final.parent)


@contextlib.contextmanager
def partial(final: Path, *, contested: bool = False) -> Iterator[Path]:
    """A name beside the final one to write to; published when the block ends well, else removed.

    The name is always the same, so that what a killed run left is found and removed by the next
    one. Only one run may write a final name at a time; `output.claim` sees to that.

    Args:
        final: the name to be had.
        contested: several processes of one run may write it at once, the same bytes; each then has
            a partial of its own, in a folder that the run removes.
    """
    with writing(final):
        final.parent.mkdir(parents=True, exist_ok=True)
        path = partial_of(final)
        if contested:
            path = path.with_stem(f"{path.stem}{CONTESTED}{platform.node()}-{os.getpid()}")
        _remove(path)
        try:
            yield path
            publish(path, final)
        finally:
            _remove(path)


def partial_of(final: Path) -> Path:
    """The hidden name under which a file is written."""
    stem = final.stem
    if len(os.fsencode(stem)) > LONGEST_STEM:
        stem = hashlib.sha256(os.fsencode(stem)).hexdigest()
    return final.with_name(f".{stem}.partial{final.suffix}")


def _remove(partial: Path) -> None:
    """Remove a partial file and what GDAL's COG driver lays beside it while it works."""
    for more in ("", ".ovr.tmp", ".msk.ovr.tmp"):
        partial.with_name(partial.name + more).unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says of a failed write into one sentence that names the
    file and a way out.

    Raises:
        WriteError: anything below failed with an ``OSError``.
    """
    try:
        yield
    except CarbonmapError:
        raise
    except OSError as error:
        raise WriteError(advice(path, error)) from error


def advice(path: Path, error: OSError) -> str:
    """What went wrong with a write and what to do about it."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        todo = (
            "the folder cannot be written to; choose another folder or disk, or change its "
            "permissions"
        )
    elif error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
        todo = (
            "a file stands where a folder should be, or a folder where a file; choose another name"
        )
    elif error.errno == errno.ENAMETOOLONG:
        todo = "the name is too long for this disk; choose a shorter one"
    elif error.errno in DISK_FULL:
        todo = (
            f"the disk or a quota is full ({free_text(path)}); make room and run the same command "
            f"again: what is finished is kept"
        )
    else:
        todo = "run the same command again: what is finished is kept"
    return f"cannot write {str(path)!r}: {error}; {todo}"


def free_bytes(path: Path) -> int:
    """Free bytes on the disk of a path that need not exist yet."""
    for folder in (path, *path.absolute().parents):
        if folder.is_dir():
            return shutil.disk_usage(folder).free
    return 0


def free_text(path: Path) -> str:
    """Free space in words."""
    return f"{free_bytes(path) / 1e6:,.0f} MB are free there"


def require_space(path: Path, needed: int) -> None:
    """Refuse to start what the disk cannot hold.

    Raises:
        WriteError: fewer bytes are free than needed.
    """
    if free_bytes(path) < needed:
        raise WriteError(
            f"{str(path)!r} needs about {needed / 1e6:,.0f} MB and {free_text(path)}; "
            f"make room, or choose another folder or disk"
        )


def write_text(final: Path, text: str) -> None:
    """Write a small UTF-8 file, whole or not at all."""
    with partial(final) as path:
        path.write_text(text, encoding="utf-8", newline="\n")


def write_arrays(final: Path, arrays: Mapping[str, np.ndarray[Any, Any]]) -> int:
    """Write arrays by name, whole or not at all; for a run's own use, in its own folder.

    Returns:
        The file's CRC-32, which the disk gave back.

    Raises:
        WriteError: it did not, or the disk is full.
    """
    with io.BytesIO() as memory:
        np.savez(memory, allow_pickle=False, **arrays)
        encoded = memory.getvalue()
    known = zlib.crc32(encoded)
    with partial(final, contested=True) as path:
        path.write_bytes(encoded)
        if crc32(path) != known:
            raise WriteError(
                f"{str(final)!r} does not read back as it was written; {free_text(final)}; check "
                f"the disk and run the same command again: what is finished is kept"
            )
    return known


def read_arrays(path: Path, known: int, names: Iterable[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Some of the arrays that `write_arrays` wrote, by name.

    Args:
        path: of the file.
        known: its CRC-32.
        names: of the arrays.

    Raises:
        CorruptData: the file is gone, or another than was written.
    """
    try:
        encoded = path.read_bytes()
    except OSError as error:
        raise CorruptData(f"{str(path)!r} is gone ({error}); run the same command again") from error
    if zlib.crc32(encoded) != known:
        raise CorruptData(
            f"{str(path)!r} changed since it was written, as by another run into the same folder; "
            f"end that one, and run the same command again"
        )
    with np.load(io.BytesIO(encoded), allow_pickle=False) as held:
        return {name: held[name] for name in names}


def write_json(final: Path, value: object) -> None:
    """Write JSON, whole or not at all; no number can prevent it.

    What is told of output is written last, when the output that it replaces is gone.
    """
    text = json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(final, text + "\n")


def plain(value: Any) -> Any:
    """A value as JSON can hold it: a number that is none, or without bounds, becomes null."""
    if isinstance(value, Mapping):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path) -> Json | None:
    """A JSON object, or None where the file is absent, damaged or holds something else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
