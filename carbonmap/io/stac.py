"""The archive's static STAC catalogue, and the items that lie beside finished maps."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pystac
from pystac.stac_io import DefaultStacIO

from carbonmap.grid import Grid
from carbonmap.io import files, output, store
from carbonmap.types import Json

PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
"""Interval start of layers without a date: STAC wants an instant or an interval, and a DEM has
neither."""


class Drafts(DefaultStacIO):
    """pystac's writer, except that it keeps what it is to write."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[Path, str] = {}

    def write_text_to_href(self, href: str, txt: str) -> None:
        """Keep one document."""
        self.texts[Path(href)] = txt


def item(
    name: str, grid: Grid, date: str | None, properties: Json, assets: dict[str, pystac.Asset]
) -> pystac.Item:
    """A STAC item of something on the grid; `date` is ``YYYY-MM-DD``, ``YYYY-MM`` or None."""
    west, south, east, north = grid.wgs84_bounds
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    start, end = interval(date)
    projection: Json = {
        "proj:shape": list(grid.shape),
        "proj:transform": list(grid.transform)[:6],
    }
    if grid.crs.startswith("EPSG:"):
        projection["proj:code"] = grid.crs
    else:
        projection["proj:wkt2"] = grid.crs
    made = pystac.Item(
        id=name,
        geometry={"type": "Polygon", "coordinates": [ring]},
        bbox=[west, south, east, north],
        datetime=start if start == end else None,
        start_datetime=None if start == end else start,
        end_datetime=None if start == end else end,
        properties=projection | properties,
        stac_extensions=[PROJECTION],
    )
    for key, asset in assets.items():
        made.add_asset(key, asset)
    return made


def interval(date: str | None) -> tuple[datetime.datetime, datetime.datetime]:
    """First and last instant, UTC, of a day, a month or a range of them; of all time for None.

    A day by itself is its first instant.
    """
    if date is not None and "/" in date:
        start, end = (interval(part)[n] for n, part in enumerate(date.split("/")))
        return start, end.replace(hour=23, minute=59, second=59)
    if date is None:
        return EPOCH, datetime.datetime(9999, 12, 31, tzinfo=datetime.UTC)
    if len(date) == len("YYYY-MM-DD"):
        day = datetime.datetime.fromisoformat(date).replace(tzinfo=datetime.UTC)
        return day, day
    first = datetime.datetime.fromisoformat(f"{date}-01").replace(tzinfo=datetime.UTC)
    after = (first + datetime.timedelta(days=31)).replace(day=1)
    return first, after - datetime.timedelta(seconds=1)


def write_item(path: Path, made: pystac.Item) -> None:
    """One item as a file beside what it describes."""
    document = made.to_dict(include_self_link=False, transform_hrefs=False)
    files.write_text(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def refresh(archive: Path) -> None:
    """Write what is stale of the catalogue, from the layers that are complete: they are the truth.

    Runs that ingest other layers at the same time take turns, each with what it finds.
    """
    if _stale(archive):
        with output.turn(archive / ".catalog.lock"):
            for path, text in _stale(archive).items():
                files.write_text(path, text)


def _stale(archive: Path) -> dict[Path, str]:
    """The catalogue's documents that are not on the disk as they should be."""
    drafts = Drafts()
    catalogue = pystac.Catalog("carbonmap-archive", "Layers on carbonmap's project grids")
    for folder in sorted(p for p in archive.iterdir() if p.is_dir()):
        found = store.layers(archive, folder.name)
        if found:
            items = [_layer_item(path, info) for path, info in found]
            spans = [interval(i.period or i.date) for _, i in found if i.date]
            catalogue.add_child(_collection(folder.name, items, spans))
    catalogue.normalize_hrefs(str(archive.absolute()))
    catalogue.make_all_asset_hrefs_relative()  # so that the archive can be moved
    catalogue.save(pystac.CatalogType.SELF_CONTAINED, stac_io=drafts)
    return {
        path: text
        for path, text in drafts.texts.items()
        if not path.is_file() or path.read_bytes() != text.encode()
    }


def _collection(
    region: str,
    items: list[pystac.Item],
    spans: list[tuple[datetime.datetime, datetime.datetime]],
) -> pystac.Collection:
    boxes: Any = [i.bbox for i in items]
    spatial = pystac.SpatialExtent(
        [[min(b[k] for b in boxes) for k in (0, 1)] + [max(b[k] for b in boxes) for k in (2, 3)]]
    )
    start, end = min((s for s, _ in spans), default=None), max((e for _, e in spans), default=None)
    temporal = pystac.TemporalExtent([[start, end]])
    made = pystac.Collection(
        region,
        f"Layers of region {region}",
        pystac.Extent(spatial, temporal),
        license="other",
    )
    made.add_items(items)
    return made


def _layer_item(path: Path, info: store.LayerInfo) -> pystac.Item:
    asset = pystac.Asset(
        href=str((path / "data.zarr").absolute()),
        title=info.long_name,
        media_type="application/vnd.zarr; version=3",
        roles=["data"],
    )
    properties: Json = {"carbonmap:layer": info.kind, "carbonmap:units": info.units}
    if info.bands:
        properties["carbonmap:bands"] = list(info.bands)
    if info.scenes:
        properties["carbonmap:scenes"] = list(info.scenes)
    return item(info.name, info.grid, info.period or info.date, properties, {"data": asset})
