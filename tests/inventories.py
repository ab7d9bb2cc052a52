"""Small inventories for tests, drawn here, and how to put them into files."""

import geopandas as gpd
from shapely import box

from carbonmap.grid import Grid
from carbonmap.io.stands import Fields

UTM = "EPSG:32648"
X, Y = 250_000.0, 2_900_000.0
GRID = Grid.covering((X, Y, X + 2000, Y + 2000), UTM, 20)
FIELDS = Fields("V", "ID")


def stands(n=3, **columns):
    """`n` stands of a hectare in a row, apart from each other."""
    shapes = [box(X + 200 * i, Y, X + 200 * i + 100, Y + 100) for i in range(n)]
    table = {"ID": [f"s{i}" for i in range(n)], "V": [100.0 + i for i in range(n)], **columns}
    return gpd.GeoDataFrame(table, geometry=shapes, crs=UTM)


def with_shapes(frame, changes, crs=None):
    shapes = list(frame.geometry)
    for place, shape in changes.items():
        shapes[place] = shape
    return gpd.GeoDataFrame(
        frame.drop(columns="geometry"), geometry=shapes, crs=frame.crs if crs is None else crs
    )


def saved(frame, folder, name="stands.gpkg", **options):
    path = folder / name
    if path.suffix == ".parquet":
        frame.to_parquet(path, **options)
    else:
        frame.to_file(path, **options)
    return path
