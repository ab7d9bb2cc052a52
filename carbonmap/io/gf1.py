"""GF-1 WFV L1A products as users have them: folders, archives, or one of the files."""

from __future__ import annotations

import dataclasses
import glob
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from carbonmap.errors import CarbonmapError, InputError, MissingInput
from carbonmap.gf1 import VIEW_WARN_DEG, Scene, parse_rpb, parse_xml, require_fit, view_gap_deg
from carbonmap.gf1.scene import PRODUCT_NAME
from carbonmap.io import archives, files
from carbonmap.io.raster import open_geotiff
from carbonmap.rpc import Rpc
from carbonmap.types import Json

ENDINGS = {".tif": "image", ".tiff": "image", ".xml": "xml", ".rpb": "rpb"}
"""A product's parts by ending, whatever its case."""

PART_NAMES = {"image": ".tiff", "xml": ".xml", "rpb": ".rpb"}

MOST_TEXT_BYTES = 5_000_000
"""Of an XML or RPB (ENGINEERING C2.5); larger ones are not read at all."""

BANDS = 4

EXAMPLE = "GF1_WFV3_E103.7_N25.6_20200827_L1A0005020371"
"""A product's name: sensor, place, day and product number."""

Parts = dict[str, list[Path]]
"""Files of one product: by part, all that could be it."""


@dataclass(frozen=True)
class Product:
    """A product whose parts are there and agree.

    Args:
        scene: its metadata.
        rpc: its camera, from the RPB alone.
        image: the TIFF: four bands of 16-bit counts, of the scene's size.
        xml: the metadata's file.
        rpb: the camera's file.
        source: what the user named.
    """

    scene: Scene
    rpc: Rpc
    image: Path
    xml: Path
    rpb: Path
    source: Path


def open_product(path: Path, unpack: Path) -> Product:
    """A product by its folder, its archive, or its ``.tiff``, ``.xml`` or ``.rpb``.

    Args:
        path: what a user gave.
        unpack: a folder for temporary files, into which an archive is extracted.

    Raises:
        MissingInput: there is nothing, or a part of the product is missing.
        InputError: it is several products or none, the archive is hostile, a part is damaged, or
            the parts are not of one scene.
    """
    path = Path(path)
    if not path.is_dir() and archives.is_archive(files.existing(path, "product")):
        folder = archives.unpack(path, unpack)
        parts = _only(path, _products_in(folder))
    else:
        parts = _parts_of(path)
    image, xml, rpb = (_part(parts, part, path) for part in PART_NAMES)
    scene = parse_xml(_read(xml, "GF-1 metadata"), xml.name)
    rpc = parse_rpb(_read(rpb, "RPB").decode("utf-8-sig", errors="replace"), rpb.name)
    require_fit(rpc, scene)
    scene = _with_note(scene, view_gap_deg(rpc, scene))
    _require_image(image, scene)
    return Product(scene, rpc, image, xml, rpb, path)


def _parts_of(path: Path) -> Parts:
    """The files of a product that lies unpacked."""
    if path.is_dir():
        files.require_readable_name(path, "product")
        return _only(path, _products_in(path))
    if files.existing(path, "product").suffix.lower() in ENDINGS:
        return _stems(path.parent).get(path.stem.casefold(), {})
    raise InputError(
        f"product {str(path)!r} is neither a folder, nor an archive "
        f"({', '.join(archives.ENDINGS)}), nor a product's {', '.join(PART_NAMES.values())}"
    )


def find_all(paths: Iterable[Path]) -> list[Path]:
    """Every product that files and folders name, each scene in one form, as paths for
    `open_product`.

    Of a scene that is there in several forms, whole files are taken before its archive, and that
    before files of which some are missing. Copies in one form all stay: whoever ingests them knows
    those that are the same.

    Raises:
        MissingInput: there is nothing, or a folder holds no product.
        InputError: a folder cannot be searched, or a name cannot be read.
    """
    forms: dict[str, dict[int, dict[Path, Path]]] = {}
    for path in (found for given in paths for found in find_products(given)):
        stem, form, same = _form_of(path)
        forms.setdefault(stem, {}).setdefault(form, {}).setdefault(same, path)
    return [path for held in forms.values() for path in held[min(held)].values()]


def _form_of(path: Path) -> tuple[str, int, Path]:
    """A product's name in lower case, the rank of its form, and what its files have in common."""
    home = path.resolve().parent
    if archives.is_archive(path):
        return archives.stem(path).casefold(), 1, path.resolve()
    beside = path.parent.glob(f"{glob.escape(path.stem)}.*")
    parts = {ENDINGS.get(p.suffix.lower()) for p in beside if p.stem == path.stem}
    whole = parts >= PART_NAMES.keys()
    return path.stem.casefold(), 0 if whole else 2, home / path.stem.casefold()


def find_products(path: Path) -> list[Path]:
    """Every product below a folder, as paths for `open_product`; a file stands for itself.

    A product that is there both as files and as an archive counts once: as files where all of them
    are there.

    Raises:
        MissingInput: there is nothing, or the folder holds no product.
        InputError: the name cannot be read, or something below cannot be searched.
    """
    path = Path(path)
    if not path.is_dir():
        return [files.existing(path, "product")]
    files.require_readable_name(path, "product")
    try:
        found, aside = _found_below(path)
    except OSError as error:
        raise InputError(
            f"folder {str(path)!r} cannot be searched for products: {error}; let it be read, or "
            f"name the products that can be"
        ) from error
    if not found:
        raise MissingInput(
            f"folder {str(path)!r} holds no GF-1 WFV product; give folders or archives such as "
            f"{EXAMPLE}.tar.gz" + (f", not {listed(p.name for p in aside)}" if aside else "")
        )
    return [found[stem] for stem in sorted(found)]


def left_aside(paths: Iterable[Path]) -> list[Path]:
    """The archives below folders that `find_all` passes over, since no product has their names."""
    return [a for p in dict.fromkeys(paths) if p.is_dir() for a in _found_below(p)[1]]


def _found_below(path: Path) -> tuple[dict[str, Path], list[Path]]:
    """The products below a folder, by name in lower case, and the archives of other names.

    Raises:
        OSError: some folder or file may not be looked at.
    """

    def fail(error: OSError) -> None:
        raise error

    packed, aside = dict[str, Path](), list[Path]()
    loose: dict[bool, dict[str, Path]] = {True: {}, False: {}}
    for folder, below, names in os.walk(path, onerror=fail):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for stem, parts in _products_in(Path(folder)).items():
            first = next(parts[part][0] for part in PART_NAMES if part in parts)
            loose[len(parts) == len(PART_NAMES)].setdefault(stem, first)
        for archive in sorted(Path(folder) / name for name in names):
            if not archives.is_archive(archive) or archive.name.startswith("."):
                continue
            if archive.name.upper().startswith("GF1_WFV"):
                packed.setdefault(archives.stem(archive).casefold(), archive)
            else:
                aside.append(archive)
    return loose[False] | packed | loose[True], aside


def _stems(folder: Path) -> dict[str, Parts]:
    """The folder's files that could be parts of products, by stem in lower case."""
    found: dict[str, Parts] = {}
    for path in sorted(folder.iterdir()):
        part = ENDINGS.get(path.suffix.lower())
        if part and not path.name.startswith(".") and path.is_file():
            found.setdefault(path.stem.casefold(), {}).setdefault(part, []).append(path)
    return found


def _products_in(folder: Path) -> dict[str, Parts]:
    """Those stems that are products: by their name, or since two of the three parts are there."""
    return {
        stem: parts
        for stem, parts in _stems(folder).items()
        if PRODUCT_NAME.fullmatch(stem.upper()) or len(parts) > 1
    }


def _only(path: Path, products: dict[str, Parts]) -> Parts:
    """The one product of a folder.

    Raises:
        MissingInput: there is none.
        InputError: there are several.
    """
    if not products:
        raise MissingInput(
            f"{str(path)!r} holds no GF-1 WFV product: no .tiff, .xml and .rpb of one name"
        )
    if len(products) > 1:
        told = listed(next(iter(parts.values()))[0].stem for parts in products.values())
        raise InputError(f"{str(path)!r} holds {len(products)} products, give one: {told}")
    return next(iter(products.values()))


def _part(parts: Parts, part: str, source: Path) -> Path:
    """The one file of a part.

    Raises:
        MissingInput: it is missing.
        InputError: there are two.
    """
    found = parts.get(part, [])
    if not found:
        there = listed(path.name for paths in parts.values() for path in paths)
        raise MissingInput(
            f"product {str(source)!r} lacks its {PART_NAMES[part]}; beside each other must stand "
            f"{', '.join(PART_NAMES.values())} of one name, and there is only {there}"
        )
    if len(found) > 1:
        raise InputError(
            f"product {str(source)!r} has more than one {PART_NAMES[part]}: "
            f"{listed(path.name for path in found)}; remove the wrong one"
        )
    return found[0]


def listed(names: Iterable[str]) -> str:
    """The first few of many names, and how many more there are."""
    held = list(names)
    return ", ".join(held[:5]) + (f" and {len(held) - 5} more" if len(held) > 5 else "")


def _read(path: Path, what: str) -> bytes:
    """A small file's bytes.

    Raises:
        InputError: it is large, which neither XML nor RPB is.
    """
    size = files.existing(path, what).stat().st_size
    if size > MOST_TEXT_BYTES:
        raise InputError(f"{what} {path.name!r} has {size:,} bytes; a real one has a few thousand")
    return path.read_bytes()


def _with_note(scene: Scene, gap_deg: float) -> Scene:
    """The scene, with a word on view angles that the camera contradicts."""
    if gap_deg <= VIEW_WARN_DEG:
        return scene
    note = (
        f"by the XML the satellite stood {gap_deg:.0f}° away from where it stood by the RPB, which "
        f"was used: if the RPB is damaged, mountains lie in the wrong place"
    )
    return dataclasses.replace(scene, notes=(*scene.notes, note))


def _require_image(path: Path, scene: Scene) -> None:
    """Refuse an image of another kind or size before any of it is read.

    The metadata's size has a bound, and so has what a larger one could take in memory.

    Raises:
        InputError: see above, or it is no GeoTIFF.
    """
    with open_geotiff(path, "GF-1 image") as opened:
        found = opened.height, opened.width
        if found != (scene.height, scene.width):
            raise InputError(
                f"GF-1 image {path.name!r} has {found[0]} × {found[1]} px (lines × samples) and "
                f"its XML says {scene.height} × {scene.width}; one of them is another product's or "
                f"cut short, fetch the product again"
            )
        kinds = sorted(set(opened.dtypes))
        if opened.count != BANDS or kinds != ["uint16"]:
            raise InputError(
                f"GF-1 image {path.name!r} has {opened.count} band(s) of {', '.join(kinds)}; a WFV "
                f"L1A image has {BANDS} of uint16 (blue, green, red, nir)"
            )
        _require_content(path, found)


def _require_content(path: Path, shape: tuple[int, int]) -> None:
    """Refuse an image of which most blocks were never written, by the rule that archives have.

    Raises:
        InputError: the file is far too small for an image of its size, however well it packs.
    """
    size, content = path.stat().st_size, 2 * BANDS * shape[0] * shape[1]
    if content > max(archives.SMALL_BYTES, archives.MOST_GROWTH * size):
        raise InputError(
            f"GF-1 image {path.name!r} has {size:,} bytes for {content:,} of counts: most of it is "
            f"not there; fetch the product again"
        )


def identify(path: Path) -> tuple[str, Json]:
    """A product's name and what it is known again by, without unpacking or reading it whole.

    Raises:
        MissingInput: there is nothing, or a part of the product is missing.
        InputError: it is several products, or none, may not be read, or has no product's name, by
            which alone the same product is known again.
    """
    path = Path(path)
    try:
        if path.is_file() and archives.is_archive(path):
            return _require_name(archives.stem(path), path), {"archive": files.fingerprint(path)}
        parts = _parts_of(path)
        held = {part: files.fingerprint(_part(parts, part, path)) for part in PART_NAMES}
    except CarbonmapError:
        raise
    except OSError as error:
        raise InputError(f"product {str(path)!r} cannot be read: {error}") from error
    return _require_name(_part(parts, "xml", path).stem, path), held


def _require_name(name: str, source: Path) -> str:
    """The name of a product's archive or files, which must be the product's own.

    Raises:
        InputError: it is another; its scene would be a second one of the same product.
    """
    if not PRODUCT_NAME.fullmatch(name):
        raise InputError(
            f"product {str(source)!r} goes by {name!r}, which is not the name of a product; give "
            f"it back its own, with sensor, place, day and product number, as in {EXAMPLE}"
        )
    return name
