"""Vector files in and out; geopandas' and pyogrio's one owner."""

from __future__ import annotations

import contextlib
import json
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pyogrio
from numpy.typing import NDArray

from carbonmap import crs as crs_
from carbonmap.errors import InputError, WriteError, nearest
from carbonmap.io import files, shapefile
from carbonmap.io.raster import SAFE
from carbonmap.outlines import Outlines
from carbonmap.types import Json

pyogrio.set_gdal_config_options(SAFE)  # pyogrio's wheels bring a GDAL of their own

Frame: TypeAlias = gpd.GeoDataFrame
"""Stands with their attributes, as notebooks know them."""

MAGIC = {
    "ESRI Shapefile": (".shp", b"\x00\x00\x27\x0a"),
    "GPKG": (".gpkg", b"SQLite format 3\x00"),
    "GeoParquet": (".parquet", b"PAR1"),
}
"""Suffix and first bytes of what we open: GDAL picks a driver by content, so a text named .shp
could make it read other files or the network (ENGINEERING 9, C2.1)."""

RAW = "ISO-8859-1"
"""The encoding under which a Shapefile's bytes pass through GDAL unchanged, to be decoded here."""


@dataclass(frozen=True)
class Told:
    """By what name a user can answer what a file leaves open, for messages.

    Args:
        file: what the file is.
        layer: setting that picks its layer.
        crs: setting that gives a CRS where it states none.
        land: what its polygons should be.
    """

    file: str
    layer: str
    crs: str
    land: str = "stands"


INVENTORY = Told("inventory", "--layer", "--assume-crs")


@dataclass(frozen=True)
class Table:
    """A vector file as read.

    Args:
        columns: wanted fields by name: numbers, or objects with None where empty.
        outlines: geometries as they are, None where a record has none.
        crs: of the outlines.
        notes: what a user should know.
    """

    columns: dict[str, NDArray[Any]]
    outlines: Outlines
    crs: str
    notes: tuple[str, ...]


def read_table(
    path: str | Path,
    wanted: Sequence[str],
    *,
    layer: str | None = None,
    encoding: str | None = None,
    assume_crs: str | None = None,
    said: Told = INVENTORY,
) -> Table:
    """The wanted fields and the outlines of a vector file.

    Args:
        path: Shapefile, GeoPackage or GeoParquet.
        wanted: names of fields; where there are none, no text is decoded.
        layer: of a GeoPackage with several.
        encoding: of a Shapefile's text.
        assume_crs: CRS of a file that states none.
        said: what the file is, and how the user gives `layer` and `assume_crs`.

    Raises:
        MissingInput: there is no such file, or a part of the Shapefile is missing.
        InputError: it is of another kind, damaged, unreadable text, has no CRS or lacks a field.
    """
    path = files.existing(path, "vector file")
    driver = _driver(path)
    if encoding is not None and driver != "ESRI Shapefile":
        raise InputError(f"--encoding is for Shapefiles; {path.name!r} holds UTF-8 by its standard")
    if layer is not None and driver != "GPKG":
        raise InputError(
            f"a layer can be chosen in a GeoPackage only, and {said.file} {path.name!r} is none; "
            f"leave out {said.layer}"
        )
    with _readable(path) as warned:
        notes: tuple[str, ...] = ()
        if driver == "GeoParquet":
            frame = _read_parquet(path, wanted)
        elif driver == "GPKG":
            frame = _read_geopackage(path, wanted, layer, said)
        else:
            frame, notes = _read_shapefile(path, wanted, encoding)
    stated = None if frame.crs is None else str(frame.crs.to_wkt())
    columns = {name: _column(frame, name) for name in wanted}
    outlines = np.array(frame.geometry.array, dtype=object)
    return Table(columns, outlines, _crs(path, stated, assume_crs, said), (*notes, *warned))


def _driver(path: Path) -> str:
    """The kind of file, by its suffix and its first bytes together.

    Raises:
        InputError: it is of another kind, or its content is not what its name says.
    """
    suffix = path.suffix.lower().replace(".geoparquet", ".parquet")
    with path.open("rb") as stream:
        head = stream.read(16)
    for driver, (own, magic) in MAGIC.items():
        if suffix == own:
            if not head.startswith(magic):
                raise InputError(
                    f"{str(path)!r} is named like a {driver} file, but its content is something "
                    f"else; export it again from your GIS"
                )
            return driver
    raise InputError(
        f"{str(path)!r} is not a kind of vector file that carbonmap reads; give a Shapefile "
        f"(.shp), GeoPackage (.gpkg) or GeoParquet (.parquet)"
    )


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[list[str]]:
    """Turn what the readers raise into our errors, and what they warn of into notes."""
    said: list[str] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield said
    except InputError:
        raise
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise InputError(f"{str(path)!r} cannot be read ({error}); it may be damaged") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r} cannot be read ({error}); it may be damaged") from None
    said.extend(dict.fromkeys(f"GDAL: {w.message}" for w in caught))


def _read_shapefile(
    path: Path, wanted: Sequence[str], given: str | None
) -> tuple[Frame, tuple[str, ...]]:
    """A Shapefile's wanted fields, its text decoded here and not by GDAL's silent guess."""
    shapefile.require_whole(path)
    if not wanted:
        return pyogrio.read_dataframe(path, encoding=RAW, columns=[], on_invalid="ignore"), ()
    told = shapefile.encoding(path, given)
    raw = [str(name) for name in pyogrio.read_info(path, encoding=RAW)["fields"]]
    texts, notes = shapefile.decode({name.encode(RAW) for name in raw}, told, path)
    named = [texts[name.encode(RAW)] for name in raw]
    _require_fields(path, wanted, named)
    chosen = [raw[named.index(name)] for name in wanted]
    frame = pyogrio.read_dataframe(path, encoding=RAW, columns=chosen, on_invalid="ignore")
    for name in frame.columns.drop("geometry"):
        if not _is_text(frame[name]):
            continue
        there = frame[name].dropna()
        texts, more = shapefile.decode({v.encode(RAW) for v in there.unique()}, told, path)
        frame[name] = frame[name].map({k.decode(RAW): v for k, v in texts.items()})
        notes |= more
    frame = frame.rename(columns=dict(zip(chosen, wanted, strict=True)))
    return frame, tuple(sorted(notes))


def _is_text(column: Any) -> bool:
    return column.dtype == object or str(column.dtype) == "str"


def _read_geopackage(path: Path, wanted: Sequence[str], layer: str | None, said: Told) -> Frame:
    layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
    if layer is None and len(layers) != 1:
        raise InputError(
            f"{said.file} {str(path)!r} holds {len(layers)} layers of geometry "
            f"({', '.join(layers)}); say which one: {said.layer}"
        )
    if layer is not None and layer not in layers:
        raise InputError(
            f"{said.file} {str(path)!r} has no layer {layer!r}; {nearest(layer, layers)}"
        )
    chosen = layer or layers[0]
    named = [str(name) for name in pyogrio.read_info(path, layer=chosen)["fields"]]
    _require_fields(path, wanted, named)
    return pyogrio.read_dataframe(path, layer=chosen, columns=list(wanted), on_invalid="ignore")


def _read_parquet(path: Path, wanted: Sequence[str]) -> Frame:
    schema = pq.read_schema(path)
    geo = json.loads((schema.metadata or {}).get(b"geo", b"{}"))
    geometry = geo.get("primary_column")
    if geometry is None:
        raise InputError(f"{str(path)!r} is Parquet without geometry; export it as GeoParquet")
    _require_fields(path, wanted, [name for name in schema.names if name != geometry])
    return gpd.read_parquet(path, columns=[*wanted, geometry])


def _require_fields(path: Path, wanted: Sequence[str], named: Sequence[str]) -> None:
    """Refuse fields that the file lacks, or has twice."""
    for name in wanted:
        if name not in named:
            raise InputError(
                f"inventory {path.name!r} has no field {name!r}; {nearest(name, named)}"
            )
        if named.count(name) > 1:
            raise InputError(
                f"inventory {path.name!r} has {named.count(name)} fields called {name!r}; "
                f"rename all but one"
            )


def _column(frame: Frame, name: str) -> NDArray[Any]:
    """A field as numbers, or as objects with None where empty.

    Raises:
        InputError: it holds dates, times or yes/no values.
    """
    column = frame[name]
    if column.dtype.kind in "iuf":
        return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
    if column.dtype.kind not in "OTU" and not _is_text(column):
        raise InputError(f"field {name!r} holds {column.dtype} values; numbers or text are needed")
    values = np.array(column.to_numpy(dtype=object), dtype=object)
    values[np.asarray(column.isna())] = None
    return values


def _crs(path: Path, stated: str | None, assumed: str | None, said: Told) -> str:
    """The file's CRS; the user's word where it states none.

    Raises:
        InputError: nobody says it, or file and user contradict each other.
    """
    if stated is None and assumed is None:
        raise InputError(
            f"{said.file} {str(path)!r} states no coordinate reference system (a Shapefile's "
            f".prj); give it, such as EPSG:4490: {said.crs}"
        )
    if stated is None or assumed is None:
        return crs_.canonical(str(stated or assumed))
    if not crs_.same(stated, assumed):
        raise InputError(
            f"{said.file} {str(path)!r} states CRS {crs_.parse(stated).name!r}, not {assumed!r}; "
            f"leave that out, or remove a .prj that is wrong ({said.crs})"
        )
    return crs_.canonical(stated)


def hash_inputs(path: str | Path) -> Json:
    """Size and hash of a vector input's every file, by which its use is known again."""
    found = files.existing(path, "vector file")
    is_shapefile = found.suffix.lower() == ".shp"
    all_ = shapefile.parts(found).values() if is_shapefile else [found]
    return {part.name: files.describe(part) for part in sorted(all_)}


def frame(columns: Mapping[str, NDArray[Any]], outlines: Outlines, crs: str) -> Frame:
    """Columns and outlines of one CRS as a GeoDataFrame."""
    return Frame(dict(columns), geometry=outlines, crs=crs)


def write_stands(stands: Frame, path: Path) -> None:
    """Write ``stands.parquet``: GeoParquet 1.1 with a bounding box per stand, whole or not at all.

    The version is pinned: 2.0 and native Parquet geometry are arriving (ENGINEERING A1).
    """
    with files.partial(path) as partial:
        stands.to_parquet(
            partial,
            index=False,
            compression="zstd",
            write_covering_bbox=True,
            schema_version="1.1.0",
        )


def read_stands(path: str | Path) -> Frame:
    """The stands that `write_stands` wrote.

    Raises:
        MissingInput: there is no such file.
        InputError: it is not GeoParquet, or damaged.
    """
    found = files.existing(path, "stands")
    _driver(found)
    with _readable(found):
        return gpd.read_parquet(found)


def write_shapefile(stands: Frame, path: Path, encoding: str) -> list[Path]:
    """Write a Shapefile with text in a given encoding, its ``.shp`` last; returns its parts.

    Raises:
        WriteError: the disk is full or cannot be written.
    """
    folder = files.partial_of(path.with_suffix(""))
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with files.writing(path):
            folder.mkdir(parents=True)
            draft = folder / path.name
            pyogrio.write_dataframe(stands, draft, driver="ESRI Shapefile", encoding=encoding)
            parts = sorted(folder.iterdir(), key=lambda p: p.suffix == ".shp")
            for part in parts:
                files.publish(part, path.with_name(part.name))
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise WriteError(
            f"cannot write {str(path)!r}: {error}; {files.free_text(path)}; make room and run the "
            f"same command again"
        ) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return [path.with_name(part.name) for part in parts]
