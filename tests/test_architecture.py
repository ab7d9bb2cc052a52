"""STYLE's layer diagram as a test: who may import whom, and which library has which owner.

`faults` takes sources and returns sentences, so that the tests below can show it wrong code.
"""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LONGEST_FILE = 350
"""Lines; STYLE aims at 120 and seldom goes past 300."""

LAYERS = {
    "errors": 0,
    "types": 0,
    "models": 2,
    "diffusion": 2,
    "networks": 2,
    "distill": 2,
    "learning": 2,
    "io": 2,
    "progress": 2,
    "lazy": 3,
    "checkpoint": 3,
    "config": 3,
    "project": 3,
    "stages": 4,
    "cli": 5,
    "__main__": 5,
    "__init__": 5,
}
"""Layer of a file or folder right under carbonmap/; everything else is layer 1."""

MATHS = {"models", "diffusion", "networks", "distill", "learning"}
"""Neither these import io, nor io these."""

OWNERS = {
    "rasterio": ("io/",),
    "geopandas": ("io/vector",),
    "pyogrio": ("io/vector",),
    "zarr": ("io/",),
    "pystac": ("io/",),
    "matplotlib": ("io/figures",),
    "jinja2": ("io/page",),
    "pyproj": ("crs",),
    "exactextract": ("coverage",),
    "defusedxml": ("gf1/document",),
    "sklearn": ("models/",),
    "skops": ("models/",),
    "torch": (
        "models/",
        "diffusion/",
        "networks/",
        "distill/",
        "learning/",
        "checkpoint",
        "checkpoint/",
    ),
    "dask": ("lazy", "stages/"),
    "distributed": ("stages/cluster",),
    "tomllib": ("config",),
    "click": ("cli", "cli/"),
    "rich": ("progress",),
}
"""Where a foreign library may be imported: a file, or a folder with its slash."""

BELOW_FILES = {"rioxarray", "xarray", "tifffile", "pyarrow", "sqlite3", "tempfile"}
"""Besides the owned ones, what layers 0 and 1 may not import: arrays in, arrays out."""

FILE_CALLS = {"open", "read_text", "read_bytes", "write_text", "write_bytes", "mkdir", "unlink"}
"""Calls by which layers 0 and 1 would touch a file."""

UNSAFE = {"pickle", "joblib", "cloudpickle", "dill", "shelve", "marshal"}
"""Formats that run code when they are read."""

MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|root|home|Users|tmp|opt)/\w|[A-Z]:\\\\?Users")


def place(path):
    """Path under carbonmap/ without its ending: ``io/files``, ``grid``."""
    return path.removeprefix("carbonmap/").removesuffix(".py")


def layer(path):
    return LAYERS.get(place(path).split("/")[0], 1)


def module(path):
    return path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


def imports(path, tree):
    """Every absolute name that a file imports, wherever in it, with its line."""
    package = module(path) if path.endswith("__init__.py") else module(path).rpartition(".")[0]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(parts if node.level else []), *filter(None, [node.module])])
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)


def faults(sources):
    """What is wrong with the sources, ``{path: text}``, one sentence each."""
    trees = {path: ast.parse(text) for path, text in sources.items()}
    files = {module(path): path for path in sources}
    graph = {}
    for path, tree in trees.items():
        graph[path] = set()
        for name, line in imports(path, tree):
            target = files.get(name) or files.get(name.rpartition(".")[0])
            if name.split(".")[0] != "carbonmap":
                yield from foreign_faults(path, name.split(".")[0], line)
            elif target is not None and target != path:
                graph[path].add(target)
                yield from layer_faults(path, target, line)
        yield from call_faults(path, tree)
        if (lines := sources[path].count("\n")) > LONGEST_FILE:
            yield f"{path} has {lines} lines, more than {LONGEST_FILE}: split it"
    yield from cycle_faults(graph)


def layer_faults(path, target, line):
    if layer(target) > layer(path):
        yield f"{path}:{line} (layer {layer(path)}) imports {target} (layer {layer(target)})"
    folders = {place(path).split("/")[0], place(target).split("/")[0]}
    if "io" in folders and folders & MATHS:
        yield f"{path}:{line} joins io and {place(target)}: they never import each other"


def foreign_faults(path, library, line):
    owners = OWNERS.get(library)
    where = place(path)
    if owners and not any(where == o or (o[-1] == "/" and where.startswith(o)) for o in owners):
        yield f"{path}:{line} imports {library}, whose owner is {' or '.join(owners)}"
    if library in BELOW_FILES and layer(path) < 2:
        yield f"{path}:{line} (layer {layer(path)}) imports {library}"
    if library in UNSAFE:
        yield f"{path}:{line} imports {library}, which runs code from a file"


def call_faults(path, tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "torch.load":
            yield f"{path}:{node.lineno} uses torch.load, which runs code from a file"
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).split(".")[-1]
            if layer(path) < 2 and name in FILE_CALLS:
                yield f"{path}:{node.lineno} (layer {layer(path)}) touches a file: {name}()"
            pickles = [k.value for k in node.keywords if k.arg == "allow_pickle"]
            if any(ast.unparse(value) != "False" for value in pickles):
                yield f"{path}:{node.lineno} sets allow_pickle, which runs code from a file"


def cycle_faults(graph):
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        yield "import cycle: " + " → ".join(error.args[1])


def project_files():
    """Every text file that a user would get, besides data."""
    suffixes = {".py", ".toml", ".md", ".txt", ".yml", ".yaml", ".ipynb", ""}
    folders = ["carbonmap", "tests", "pipelines", "examples", "benchmarks", "docs", ".ci"]
    for path in [*ROOT.iterdir(), *(p for f in folders for p in (ROOT / f).rglob("*"))]:
        if path.is_file() and path.suffix in suffixes and "__pycache__" not in path.parts:
            yield path


def test_the_code_is_the_diagram():
    paths = sorted((ROOT / "carbonmap").rglob("*.py"))
    sources = {p.relative_to(ROOT).as_posix(): p.read_text("utf-8") for p in paths}
    assert len(sources) > 10
    assert list(faults(sources)) == []


def test_no_file_knows_the_machine_on_which_it_was_written():
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in project_files()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if MACHINE_PATH.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("text", ["x = '/{}/me/a'", "see /{}/b", r"C:\{}\me"])
@pytest.mark.parametrize("folder", ["home", "work", "Users"])
def test_a_machine_path_would_be_found(text, folder):
    found = MACHINE_PATH.search(text.format(folder))
    assert found or (text[0] == "C" and folder != "Users")
    assert not MACHINE_PATH.search("../shared/data and https://x.org/home/page")


def wrong(path, text, **others):
    """What is said of one file, in a package that has the others too."""
    return list(faults({"carbonmap/grid.py": "", **others, f"carbonmap/{path}": text}))


@pytest.mark.parametrize(
    ("path", "text", "says"),
    [
        ("types.py", "from carbonmap import grid", "layer 0"),
        ("types.py", "from carbonmap.grid import Grid", "layer 0"),
        ("types.py", "from . import grid", "layer 0"),
        ("types.py", "from .grid import Grid", "layer 0"),
        ("types.py", "def f():\n    import carbonmap.grid", "layer 0"),
        ("terrain.py", "import rasterio", "owner is io/"),
        ("stages/map.py", "import rasterio.warp", "owner is io/"),
        ("io/raster.py", "from geopandas import GeoDataFrame", "owner is io/vector"),
        ("stages/map.py", "import click", "owner is cli"),
        ("terrain.py", "import dask.array as da", "owner is lazy or stages/"),
        ("configs.py", "import tomllib", "owner is config"),
        ("terrain.py", "import torch", "owner is models/"),
        ("terrain.py", "import xarray as xr", "layer 1"),
        ("landscape/hills.py", "import xarray as xr", "layer 1"),
        ("terrain.py", "open('dem.tif')", "touches a file"),
        ("terrain.py", "path.write_text('x')", "touches a file"),
        ("models/forest.py", "import pickle", "runs code"),
        ("models/forest.py", "from joblib import load", "runs code"),
        ("checkpoint.py", "import torch\ntorch.load('x')", "torch.load"),
        ("io/store.py", "import numpy as np\nnp.load(f, allow_pickle=True)", "allow_pickle"),
        ("terrain.py", "x = 1\n" * 351, "more than 350"),
    ],
)
def test_wrong_code_would_be_found(path, text, says):
    (fault,) = wrong(path, text)
    assert says in fault


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("terrain.py", "from carbonmap.grid import Grid\nimport numpy"),
        ("io/raster.py", "import rasterio\nfrom carbonmap.grid import Grid"),
        ("io/vector.py", "import geopandas"),
        ("stages/map.py", "import dask.array\nopen('x')"),
        ("stages/map.py", "import numpy as np\nnp.load(f, allow_pickle=False)"),
        ("config.py", "import tomllib"),
    ],
)
def test_right_code_passes(path, text):
    assert wrong(path, text) == []


def test_the_maths_and_io_never_meet():
    files = {"carbonmap/io/raster.py": "", "carbonmap/models/forest.py": ""}
    assert "never import" in wrong("models/a.py", "from carbonmap.io import raster", **files)[0]
    assert "never import" in wrong("io/a.py", "import carbonmap.models.forest", **files)[0]


def test_an_upward_import_is_found_between_any_two_layers():
    tops = ["errors", "grid", "io/cog", "config", "stages/map", "cli"]
    for low, path in enumerate(tops):
        for high in tops[low + 1 :]:
            name = high.replace("/", ".")
            found = wrong(f"{path}.py", f"import carbonmap.{name}", **{f"carbonmap/{high}.py": ""})
            assert len(found) == 1, (path, high, found)


def test_a_cycle_within_a_layer_is_found():
    sources = {
        "carbonmap/a.py": "from carbonmap import b",
        "carbonmap/b.py": "from .c import x",
        "carbonmap/c.py": "def f():\n    from carbonmap.a import y",
    }
    (fault,) = faults(sources)
    assert fault.startswith("import cycle: carbonmap/")
