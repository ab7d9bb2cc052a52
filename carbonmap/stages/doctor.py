"""What this machine offers and what is wrong with its installation, said so that it can be mended.

rasterio, pyogrio and pyproj each bring a PROJ of their own, and a PROJ or GDAL folder set from
outside breaks them without a word; so each is asked for a point whose coordinates are known. The
libraries are imported by name here, one by one, because a doctor must not fall ill of what it
looks for.
"""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from carbonmap.cores import cpu_threads

GB = 1024**3

DISK_GB = 5
"""A county of 49 million pixels takes some 2 GB of layers and maps, and a map is written only where
2.5 times its size is free."""

MEMORY_GB = 2
"""The libraries take some 0.4 GB, copying a map to a COG 0.5 GB, and tiles come on top."""

FOREIGN_DATA = ("PROJ_DATA", "PROJ_LIB", "GDAL_DATA", "GDAL_DRIVER_PATH")
"""Variables by which another installation's data get in the way of the wheels' own."""

LIBRARIES = {
    "numpy": (),
    "pyproj": ("proj_version_str",),
    "rasterio": ("__gdal_version__", "__proj_version__"),
    "pyogrio": ("__gdal_version_string__",),
    "geopandas": (),
    "exactextract": (),
    "zarr": (),
    "dask": (),
    "distributed": (),
    "sklearn": (),
    "torch": (),
    "safetensors": (),
}
"""What is asked for its version, and the names of the GDAL and PROJ versions that it brings."""

REINSTALL = "install carbonmap anew in an environment of its own (README, Install)"

POINT = (105.0, 25.0)
"""Longitude and latitude on the central meridian of EPSG:32648 (UTM 48N)."""

KNOWN = (500000.0, 2764947.7475)
"""Its easting, m, by definition, and northing: 0.9996 × meridian arc (Snyder 1987, eq. 3-21)."""

WITHIN_M = 0.01
"""A missing database moves a point by kilometres or not at all; series differ by micrometres."""

WARPED_POINT = b"""<OGRVRTDataSource><OGRVRTWarpedLayer><OGRVRTLayer name="point">
<SrcDataSource>{"type":"Point","coordinates":[105,25]}</SrcDataSource>
<SrcLayer>OGRGeoJSON</SrcLayer><LayerSRS>EPSG:4326</LayerSRS></OGRVRTLayer>
<TargetSRS>EPSG:32648</TargetSRS></OGRVRTWarpedLayer></OGRVRTDataSource>"""
"""The point as a layer that GDAL itself transforms, since pyogrio has no call for it."""


@dataclass(frozen=True)
class Check:
    """One thing looked at: what was found, and what to do where it is not right."""

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    advice: str = ""


def diagnose() -> list[Check]:
    """Every check, in the order in which a user should mend things."""
    return [
        _python(),
        *map(_foreign, foreign()),
        *(_version(name, extra) for name, extra in LIBRARIES.items()),
        *(_coordinates(name, project) for name, project in PROJECTIONS.items()),
        _disk("this folder", Path.cwd()),
        _disk("temporary folder", Path(tempfile.gettempdir())),
        _memory(),
        Check("cores", "ok", str(cpu_threads())),
        _gpu(),
        _font(),
    ]


def report(checks: Iterable[Check]) -> str:
    """The checks as lines of text, what to do below what is wrong."""
    lines = []
    for check in checks:
        lines.append(f"{check.status:<5}{check.name:<22}{check.found}")
        if check.advice:
            lines.append(f"{'':5}→ {check.advice}")
    return "\n".join(lines)


def _python() -> Check:
    return Check("Python", "ok", f"{platform.python_version()} on {platform.platform()}")


def foreign() -> list[str]:
    """The variables of `FOREIGN_DATA` that lead out of this environment; conda sets its own."""
    set_here = [v for v in FOREIGN_DATA if os.environ.get(v)]
    own = Path(sys.prefix).resolve()
    return [v for v in set_here if not Path(os.environ[v]).resolve().is_relative_to(own)]


def _foreign(variable: str) -> Check:
    return Check(
        variable,
        "warn",
        f"set from outside to {os.environ[variable]!r}",
        f"unset {variable} (Windows: set {variable}=): it points the libraries at another "
        f"installation's data, and they bring their own",
    )


def _version(name: str, extra: tuple[str, ...]) -> Check:
    try:
        module = importlib.import_module(name)
    except Exception as error:
        return Check(name, "fail", f"cannot be imported: {error}", REINSTALL)
    more = [f"{_label(e)} {getattr(module, e)}" for e in extra if hasattr(module, e)]
    return Check(name, "ok", ", ".join([str(getattr(module, "__version__", "present")), *more]))


def _label(attribute: str) -> str:
    return "GDAL" if "gdal" in attribute else "PROJ"


def _coordinates(name: str, project: Callable[[], tuple[float, float]]) -> Check:
    """Whether a library's PROJ finds its database and puts the point where it belongs."""
    title = f"{name} coordinates"
    culprits = foreign()
    advice = f"unset {' and '.join(culprits)}, see above" if culprits else REINSTALL
    try:
        x, y = project()
    except Exception as error:
        return Check(title, "fail", f"PROJ cannot work: {str(error).strip()}", advice)
    if abs(x - KNOWN[0]) > WITHIN_M or abs(y - KNOWN[1]) > WITHIN_M:
        return Check(title, "fail", f"a known point lies at {x:.3f}, {y:.3f}, not {KNOWN}", advice)
    return Check(title, "ok", "a known point lies where it should")


def _by_pyproj() -> tuple[float, float]:
    transformer = importlib.import_module("pyproj").Transformer
    x, y = transformer.from_crs("EPSG:4326", "EPSG:32648", always_xy=True).transform(*POINT)
    return x, y


def _by_rasterio() -> tuple[float, float]:
    warp = importlib.import_module("rasterio.warp")
    (x,), (y,) = warp.transform("EPSG:4326", "EPSG:32648", [POINT[0]], [POINT[1]])
    return x, y


def _by_pyogrio() -> tuple[float, float]:
    _, _, geometry, _ = importlib.import_module("pyogrio.raw").read(WARPED_POINT)
    point = importlib.import_module("shapely").from_wkb(geometry[0])
    return point.x, point.y


PROJECTIONS = {"rasterio": _by_rasterio, "pyproj": _by_pyproj, "pyogrio": _by_pyogrio}


def _gpu() -> Check:
    """GPUs that networks could compute on; none is no fault."""
    try:
        cuda = importlib.import_module("torch").cuda
        names = [cuda.get_device_name(n) for n in range(cuda.device_count())]
    except Exception as error:
        return Check("GPU", "warn", f"cannot be asked for: {str(error).partition(chr(10))[0]}")
    return Check("GPU", "ok", ", ".join(names) or "none; networks compute on the CPU")


def _disk(name: str, folder: Path) -> Check:
    if not os.access(folder, os.W_OK):
        return Check(name, "fail", f"{folder} cannot be written", "choose another folder")
    free = shutil.disk_usage(folder).free / GB
    low = free < DISK_GB
    advice = f"free some space, or set TMPDIR: a county wants {DISK_GB} GB" if low else ""
    return Check(name, "warn" if low else "ok", f"{free:.1f} GB free in {folder}", advice)


def _memory() -> Check:
    known = [m for m in (physical_memory(), memory_limit()) if m is not None]
    if not known:
        return Check("memory", "ok", "unknown on this system")
    low = min(known) < MEMORY_GB * GB
    advice = f"give the machine or container {MEMORY_GB} GB or more" if low else ""
    limited = " (limit of this container)" if min(known) != physical_memory() else ""
    return Check("memory", "warn" if low else "ok", f"{min(known) / GB:.1f} GB{limited}", advice)


def physical_memory() -> int | None:
    """Bytes of memory of the machine; None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def memory_limit(
    membership: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """The smallest memory limit of the control groups around this process, bytes; None without one.

    Args:
        membership: the process's groups, ``id:controllers:path`` a line.
        mount: where the groups are mounted, version 1, 2 or both.
    """
    if not membership.is_file():
        return None
    limits = []
    for line in membership.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        roots = [mount / "memory"] if "memory" in controllers.split(",") else []
        roots += [mount, mount / "unified"] if not controllers else []
        for root in roots:
            own = root / path.lstrip("/")
            limits += [_limit(g) for g in (own, *own.parents) if g.is_relative_to(root)]
    return min((x for x in limits if x is not None), default=None)


def _limit(group: Path) -> int | None:
    """A group's limit; "max", or a number as large as the address space, is none."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        file = group / name
        text = file.read_text().strip() if file.is_file() else ""
        if text.isdigit() and int(text) < 2**60:
            return int(text)
    return None


def _font() -> Check:
    try:
        font = importlib.import_module("carbonmap.io.figures").chinese_font()
    except Exception as error:
        return Check("Chinese font", "fail", f"matplotlib cannot work: {error}", REINSTALL)
    if font is None:
        return Check(
            "Chinese font",
            "warn",
            "none: map pictures show Chinese as code points",
            "install one, such as Noto Sans CJK (Debian, Ubuntu: apt install fonts-noto-cjk)",
        )
    return Check("Chinese font", "ok", font)
