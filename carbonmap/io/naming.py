"""Products known by their files' names: which of a folder are meant, and what they measure."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from carbonmap.errors import InputError, MissingInput

ELLIPSOID = "ellipsoid"
"""Heights over WGS 84's ellipsoid, as a camera's rational polynomials take them."""

GEOID = "geoid"
"""Heights over the sea, as maps have them; in Yunnan some 30 to 40 m more than the ellipsoid's."""

DATUMS = (ELLIPSOID, GEOID)


@dataclass(frozen=True)
class Product:
    """Files of one maker.

    Args:
        kind: of layer, as ``carbonmap ingest`` has it.
        name: for people.
        pattern: of a file's whole name, capitals or not.
        example: a name that fits.
        vertical: what heights are measured from; None where that makes no sense.
    """

    kind: str
    name: str
    pattern: re.Pattern[str]
    example: str
    vertical: str | None = None


def _names(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


PRODUCTS = (
    # ASF adds the geoid to the DEM that it corrects terrain with, and ships the sum beside the
    # image (ENGINEERING 6; ASF's guide to the RTC products); RT1 has 12.5 m, RT2 30 m
    Product(
        "dem",
        "ASF's ALOS PALSAR DEM",
        _names(r"AP_\d{5}_[A-Z0-9]{3}_F\d{4}_RT[12]\.dem\.tiff?"),
        "AP_24748_FBD_F0520_RT1.dem.tif",
        ELLIPSOID,
    ),
    Product(
        "dem",
        "Copernicus DEM",  # over EGM2008, says its product handbook
        _names(r"Copernicus_DSM_(COG_)?\d\d_[NS]\d\d_00_[EW]\d{3}_00(_DEM)?\.tiff?"),
        "Copernicus_DSM_COG_10_N26_00_E103_00_DEM.tif",
        GEOID,
    ),
    Product(
        "dem",
        "JAXA's AW3D30",  # over EGM96, says its product description
        _names(r"ALPSMLC30_[NS]\d{3}[EW]\d{3}_DSM\.tiff?"),
        "ALPSMLC30_N026E103_DSM.tif",
        GEOID,
    ),
    Product(
        "canopy-height",
        "ETH's canopy height",  # Lang et al. 2023; uint8, m, 255 where there is none
        _names(r"ETH_GlobalCanopyHeight_10m_\d{4}_[NS]\d\d[EW]\d{3}_Map\.tiff?"),
        "ETH_GlobalCanopyHeight_10m_2020_N24E102_Map.tif",
    ),
)

_DEVIATION = _names(r"ETH_GlobalCanopyHeight_.*_Map_SD\.tiff?")


def product_of(path: Path) -> Product | None:
    """The product that a file's name is one of, or None."""
    return next((p for p in PRODUCTS if p.pattern.fullmatch(path.name)), None)


def find(kind: str, paths: Sequence[Path]) -> list[Path]:
    """The files meant by what a user named: a file itself, a folder's files by their names.

    Args:
        kind: of layer: ``dem`` or ``canopy-height``.
        paths: files, and folders that are searched with all folders in them, hidden ones left out.

    Returns:
        Files in the order named, those of a folder by their path in it.

    Raises:
        MissingInput: a folder holds no file of a known name.
        InputError: a file is of another kind by its name: ETH's standard deviation, or a DEM where
            canopy heights are wanted.
    """
    found = [f for p in paths for f in (_in_folder(kind, p) if p.is_dir() else [p])]
    for path in found:
        _require_kind(kind, path)
    return found


def _in_folder(kind: str, folder: Path) -> list[Path]:
    wanted = [p for p in PRODUCTS if p.kind == kind]
    files = sorted(f for f in _walk(folder) if any(p.pattern.fullmatch(f.name) for p in wanted))
    if not files:
        names = " or ".join(p.example for p in wanted)
        raise MissingInput(
            f"folder {str(folder)!r} holds no {kind} whose name is known, such as {names}; "
            f"name the files themselves"
        )
    return files


def _walk(folder: Path) -> Iterator[Path]:
    """Every file below a folder, but for hidden ones and what lies in hidden folders."""

    def fail(error: OSError) -> None:
        raise InputError(f"folder {str(folder)!r} cannot be searched: {error}") from error

    for root, folders, files in os.walk(folder, onerror=fail):
        folders[:] = [f for f in folders if not f.startswith(".")]
        yield from (Path(root, f) for f in files if not f.startswith("."))


def _require_kind(kind: str, path: Path) -> None:
    if _DEVIATION.fullmatch(path.name):
        raise InputError(
            f"{str(path)!r} is the standard deviation of ETH's canopy height, not the height; "
            f"name {re.sub('_SD', '', path.name, flags=re.IGNORECASE)} instead"
        )
    product = product_of(path)
    if product is not None and product.kind != kind:
        raise InputError(
            f"{str(path)!r} is {product.name} by its name; "
            f"run `carbonmap ingest {product.kind}` for it, or rename it"
        )


def verticals(paths: Iterable[Path]) -> set[str | None]:
    """All that files' names tell of what their heights are over, None among it for no telling."""
    products = map(product_of, paths)
    return {p.vertical if p else None for p in products}


def vertical(kind: str, paths: Sequence[Path], stated: str | None) -> tuple[str | None, str | None]:
    """What a layer's heights are measured from.

    Args:
        kind: of layer.
        paths: its files.
        stated: ``ellipsoid`` or ``geoid`` by the user's word, which holds; None goes by names.

    Returns:
        The datum, None where no name tells or heights are of trees; and a sentence on it for
        people, or None.

    Raises:
        InputError: names tell of two datums, or some tell and others do not: between the two lie
            tens of metres. Or something is stated that is no datum, or of heights over ground.
    """
    named = verticals(paths)
    if stated is None:
        (datum,) = named if len(named) == 1 else [_refuse_mixed(paths)]
        return datum, f"heights over the {datum}, by the files' names" if datum else None
    if kind != "dem" or stated not in DATUMS:
        raise InputError(
            f"heights of a {kind} are not over the {stated!r}; that is for dem, and "
            f"{' or '.join(DATUMS)}"
        )
    odd = ", against what the files' names tell" if named - {stated, None} else ""
    return stated, f"heights over the {stated}, as stated{odd}"


def _refuse_mixed(paths: Sequence[Path]) -> NoReturn:
    first = {v: p for p in reversed(paths) for v in verticals([p])}
    told = ", ".join(f"{p.name} ({v or 'not told'})" for v, p in sorted(first.items(), key=str))
    raise InputError(
        f"the DEM's files do not share one vertical datum by their names: {told}; ingest those of "
        f"one, or state with --heights what all of them are over"
    )
