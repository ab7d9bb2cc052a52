"""GF-1 WFV L1A products on the disk: TIFF without map projection, RPB, XML and browse image.

A product is a folder that appears under its name when everything in it is written, read back and
safe on the disk. The same scene gives the same bytes.
"""

from __future__ import annotations

import contextlib
import gzip
import shutil
import tarfile
import warnings
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from carbonmap.errors import WriteError
from carbonmap.io import files
from carbonmap.io.raster import environment
from carbonmap.landscape.metadata import rpb_text, xml_text
from carbonmap.landscape.product import Counts, Shot
from carbonmap.rpc import Rpc

BROWSE_STEP = 10
"""Pixels of the image, each way, in one of the browse image's."""

BROWSE_COUNTS = 4
"""Counts that make one grey level of the browse image: 10 bits into 8."""

READ_LINES = 1000
"""Lines read back at a time, some 100 MB; a multiple of `BROWSE_STEP`."""

GZIP_LEVEL = 1
"""Counts with noise shrink by about half at any level, and by this one five times as fast."""


def write_product(
    parent: Path, shot: Shot, rpc: Rpc, strips: Iterable[Counts], *, archive: bool = False
) -> Path:
    """Write a product, whole or not at all; one that is there already is replaced.

    Args:
        parent: the folder in which the product's own is made.
        shot: what the metadata tell.
        rpc: the camera model that goes with the image.
        strips: the image from the first line on, each ``(band, line, sample)`` of any height.
        archive: write ``NAME.tar.gz`` instead, with the files at its top, as products are sold.

    Returns:
        The product's folder, or its archive.

    Raises:
        WriteError: the disk is full, or what was written does not read back.
    """
    final = parent / (f"{shot.name}.tar.gz" if archive else shot.name)
    work = parent / f".{shot.name}.partial"
    with files.writing(final):
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        try:
            image = work / f"{shot.name}.tiff"
            crc = _write_image(image, (shot.camera.lines, shot.camera.samples), strips)
            _write_browse(work / f"{shot.name}.jpg", _read_back(image, crc))
            (work / f"{shot.name}.rpb").write_text(rpb_text(rpc), "ascii", newline="\n")
            (work / f"{shot.name}.xml").write_text(xml_text(shot), "utf-8", newline="\n")
            if archive:
                _pack(work, final)
            else:
                files.sync_tree(work)
                shutil.rmtree(final, ignore_errors=True)
                work.rename(final)
                files.sync_folder(parent)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return final


def product_files(product: Path) -> list[Path]:
    """The files of a product: itself, where it is an archive."""
    return sorted(product.iterdir()) if product.is_dir() else [product]


def _write_image(path: Path, shape: tuple[int, int], strips: Iterable[Counts]) -> int:
    """Write the image strip by strip, as it comes.

    Returns:
        CRC-32 of its lines, band after band in each.
    """
    lines, samples = shape
    line = crc = 0
    with (
        _gdal(path),
        rasterio.open(
            path,
            "w",
            driver="GTiff",
            height=lines,
            width=samples,
            count=4,
            dtype="uint16",
            interleave="pixel",
            BIGTIFF="IF_SAFER",
        ) as out,
    ):
        for strip in strips:
            out.write(strip, window=Window(0, line, samples, strip.shape[1]))
            crc, line = _crc(strip, crc), line + strip.shape[1]
    if line != lines:
        raise WriteError(f"{str(path)!r} was given {line} of its {lines} lines; draw them all")
    return crc


def _read_back(path: Path, crc: int) -> Counts:
    """The image in red, green and blue, ten times smaller, from what the disk holds.

    Raises:
        WriteError: the disk holds something else than was written.
    """
    small, found = [], 0
    with _gdal(path), rasterio.open(path, driver="GTiff") as back:
        for line in range(0, back.height, READ_LINES):
            count = min(READ_LINES, back.height - line)
            strip = back.read(window=Window(0, line, back.width, count))
            found = _crc(strip, found)
            small.append(_reduced(strip[2::-1]))
    if found != crc:
        raise WriteError(
            f"{str(path)!r} does not read back as it was written; {files.free_text(path)}; check "
            f"the disk and run the same command again"
        )
    return np.concatenate(small, axis=1)


def _crc(strip: Counts, before: int) -> int:
    """The checksum carried on, line by line, so that it does not depend on the strips' height."""
    return zlib.crc32(strip.transpose(1, 0, 2).tobytes(), before)


def _reduced(strip: Counts) -> Counts:
    """Means of ten by ten pixels; what is left over at the right and at the end is dropped."""
    bands, lines, samples = strip.shape
    rows, cols = lines // BROWSE_STEP, samples // BROWSE_STEP
    part = strip[:, : rows * BROWSE_STEP, : cols * BROWSE_STEP]
    blocks = part.reshape(bands, rows, BROWSE_STEP, cols, BROWSE_STEP)
    return np.asarray(blocks.mean(axis=(2, 4)), dtype=np.uint16)


def _write_browse(path: Path, image: Counts) -> None:
    """The image for the eye; an image of less than ten pixels a side has none."""
    bands, rows, cols = image.shape
    if not image.size:
        return
    with (
        _gdal(path),
        rasterio.open(
            path, "w", driver="JPEG", height=rows, width=cols, count=bands, dtype="uint8"
        ) as out,
    ):
        out.write((image // BROWSE_COUNTS).clip(0, 255).astype(np.uint8))


def _pack(folder: Path, final: Path) -> None:
    """The files of a folder as an archive without times and owners, whole or not at all."""
    with (
        files.partial(final) as path,
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", GZIP_LEVEL, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as tar,
    ):
        for file in sorted(folder.iterdir()):
            entry = tarfile.TarInfo(file.name)
            entry.size = file.stat().st_size
            with file.open("rb") as stream:
                tar.addfile(entry, stream)


@contextlib.contextmanager
def _gdal(path: Path) -> Iterator[None]:
    """GDAL on an image that has no place on the map.

    Raises:
        WriteError: GDAL failed.
    """
    try:
        with environment(), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # an L1A image has none
            yield
    except RasterioError as error:
        raise WriteError(
            f"{str(path)!r} cannot be written: {error}; {files.free_text(path)}; make room, or "
            f"choose another disk"
        ) from error
