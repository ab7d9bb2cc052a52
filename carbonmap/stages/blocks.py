"""Blocks of a scene or a mosaic on the disk: written, and believed later on only where their chunks
agree with the journal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from carbonmap.io import files, store
from carbonmap.io.output import Work
from carbonmap.types import Floats, Ints, Json

Roi = tuple[slice, slice]
"""Rows and columns of a block."""


@dataclass(frozen=True)
class Chunk:
    """One chunk to be written.

    Args:
        array: of which it is.
        band: number of the first axis, from 0; None for an array of two axes.
        roi: its pixels.
        data: their values, ``(row, col)``.
    """

    array: store.Array
    band: int | None
    roi: Roi
    data: Floats | Ints


def write(path: Path, chunks: Iterable[Chunk]) -> Json:
    """Write a block's chunks into a store, and tell the journal their checksums.

    They are not forced to the disk one by one: what a power cut takes of them is missed by `left`,
    and what gets a final name is forced there as a whole before.

    Raises:
        WriteError: the disk is full or cannot be written.
    """
    held: Json = {}
    with files.writing(path):
        for chunk in chunks:
            key = store.write_block(chunk.array, chunk.band, chunk.roi, chunk.data)
            name = f"{chunk.array.basename}/{key}"
            held[name] = files.crc32(path / name)
    return {"chunks": held}


def left(work: Work, path: Path, step: str, blocks: Sequence[Roi]) -> list[Roi]:
    """The blocks of which a chunk is not there as the journal of this step says it was written."""
    return [roi for roi in blocks if not _is_done(path, work.done.get(key_of(step, roi)))]


def key_of(step: str, roi: Roi) -> str:
    """A block's name in the journal."""
    return f"{step} r{roi[0].start}c{roi[1].start}"


def _is_done(path: Path, facts: Json | None) -> bool:
    return facts is not None and all(
        (path / name).is_file() and files.crc32(path / name) == crc
        for name, crc in facts["chunks"].items()
    )
