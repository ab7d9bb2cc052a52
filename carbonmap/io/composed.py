"""Images that were composed of scenes: beside their bands, whose every pixel is and how good."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from carbonmap.composite import NO_SOURCE
from carbonmap.io import store
from carbonmap.io.scenes import IMAGE, QUALITY, QUALITY_WORDS
from carbonmap.io.store import LayerInfo, WholeArray
from carbonmap.quality import Quality
from carbonmap.types import Json

SOURCE = "source"

ARRAYS = (IMAGE, SOURCE, QUALITY)
"""Of a composed image, all cut into the same chunks."""


@dataclass(frozen=True)
class Draft:
    """A composed image to be filled.

    Args:
        image: float32 ``(band, row, col)``.
        source: number of each pixel's scene, uint16 ``(row, col)``.
        quality: of the chosen pixels, or why there is none, uint8 ``(row, col)``.
    """

    image: store.Array
    source: store.Array
    quality: store.Array


def create(path: Path, info: LayerInfo) -> Draft:
    """An empty image with its lineage, or the one that an interrupted run began.

    Raises:
        WriteError: the disk is full or cannot be written.
    """

    def draw(draft: Path) -> None:
        group = store.draw_layer(draft, info)
        words = source_words(info.scenes)
        store.draw_array(group, SOURCE, info.grid.shape, "uint16", NO_SOURCE, words)
        outside = int(Quality.OUTSIDE)
        store.draw_array(group, QUALITY, info.grid.shape, "uint8", outside, QUALITY_WORDS)

    return Draft(*store.open_draft(path, draw, ARRAYS).values())


def source_words(scenes: tuple[str, ...]) -> Json:
    """Attributes of an array of scenes' numbers: `scenes[number]` is the id of a pixel's scene."""
    return {
        "long_name": "number of the scene that a pixel was taken from",
        "scenes": list(scenes),
        "no_source": NO_SOURCE,
    }


def open_whole(path: Path) -> tuple[WholeArray, WholeArray, WholeArray]:
    """Image, source and quality of which every block was written.

    Raises:
        CorruptData: one cannot be opened; when it is read: a chunk is gone or fails its checksum.
    """
    image, source, quality = (store.open_array(path, name) for name in ARRAYS)
    return image, source, quality
