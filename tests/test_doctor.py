"""Claims about `carbonmap doctor`."""

import importlib
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from carbonmap.stages import doctor
from carbonmap.stages.doctor import GB, Check

ROOT = Path(__file__).parents[1]


def meridian_arc(latitude):
    """Snyder 1987, eq. 3-21, on WGS 84."""
    a, f = 6378137.0, 1 / 298.257223563
    e2, phi = f * (2 - f), math.radians(latitude)
    return a * (
        (1 - e2 / 4 - 3 * e2**2 / 64 - 5 * e2**3 / 256) * phi
        - (3 * e2 / 8 + 3 * e2**2 / 32 + 45 * e2**3 / 1024) * math.sin(2 * phi)
        + (15 * e2**2 / 256 + 45 * e2**3 / 1024) * math.sin(4 * phi)
        - (35 * e2**3 / 3072) * math.sin(6 * phi)
    )


def by_name(checks):
    return {check.name: check for check in checks}


def test_the_known_point_follows_from_the_ellipsoid():
    assert doctor.KNOWN[1] == pytest.approx(0.9996 * meridian_arc(doctor.POINT[1]), abs=1e-3)


@pytest.mark.parametrize("library", doctor.PROJECTIONS)
def test_every_proj_of_this_environment_puts_the_point_where_it_belongs(library):
    assert doctor.PROJECTIONS[library]() == pytest.approx(doctor.KNOWN, abs=doctor.WITHIN_M)


def test_a_sound_machine_has_no_failed_check():
    checks = doctor.diagnose()
    assert [c for c in checks if c.status == "fail"] == []
    assert {"rasterio", "pyogrio", "pyproj", "zarr", "sklearn"} <= set(by_name(checks))
    assert "GDAL" in by_name(checks)["rasterio"].found


@pytest.mark.faults
@pytest.mark.parametrize("variable", ["PROJ_DATA", "PROJ_LIB", "GDAL_DATA"])
def test_data_of_another_installation_are_explained_and_not_only_broken(variable):
    code = "from carbonmap.stages.doctor import *; print(report(diagnose()))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {variable: "/nonexistent", "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert f"unset {variable}" in done.stdout
    lines = [line for line in done.stdout.splitlines() if line.startswith(("warn", "fail"))]
    assert any(line.startswith(f"warn {variable}") for line in lines)
    if variable != "GDAL_DATA":
        assert any("PROJ cannot work" in line for line in lines)


def test_an_environments_own_data_folder_is_not_foreign(monkeypatch):
    monkeypatch.setenv("PROJ_DATA", str(Path(sys.prefix) / "share" / "proj"))
    monkeypatch.setenv("GDAL_DATA", str(Path(sys.prefix).parent / "other"))
    assert doctor.foreign() == ["GDAL_DATA"]


def test_a_library_that_cannot_be_imported_is_one_failed_check(monkeypatch):
    def refuse(name, real=importlib.import_module):
        if name.startswith("pyogrio"):
            raise ImportError("DLL load failed")
        return real(name)

    monkeypatch.setattr(importlib, "import_module", refuse)
    checks = by_name(doctor.diagnose())
    assert [n for n, c in checks.items() if c.status == "fail"] == [
        "pyogrio",
        "pyogrio coordinates",
    ]
    assert "DLL load failed" in checks["pyogrio"].found


def test_a_point_that_did_not_move_is_no_sound_proj(monkeypatch):
    monkeypatch.setitem(doctor.PROJECTIONS, "pyproj", lambda: doctor.POINT)
    checks = by_name(doctor.diagnose())
    assert checks["pyproj coordinates"].status == "fail"
    assert "105.000" in checks["pyproj coordinates"].found


def test_a_full_disk_is_said_with_what_to_do(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: type("U", (), {"free": GB})())
    check = by_name(doctor.diagnose())["this folder"]
    assert (check.status, "1.0 GB free" in check.found, "TMPDIR" in check.advice) == (
        "warn",
        True,
        True,
    )


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_smallest_limit_around_the_process_counts_in_version_2(tmp_path):
    put(tmp_path / "cgroup", "0::/job/step\n")
    put(tmp_path / "fs/memory.max", "max\n")
    put(tmp_path / "fs/job/memory.max", f"{3 * GB}\n")
    put(tmp_path / "fs/job/step/memory.max", f"{4 * GB}\n")
    put(tmp_path / "fs/other/memory.max", "1\n")
    assert doctor.memory_limit(tmp_path / "cgroup", tmp_path / "fs") == 3 * GB


def test_the_smallest_limit_around_the_process_counts_in_version_1(tmp_path):
    put(tmp_path / "cgroup", "5:cpu,cpuacct:/x\n4:memory:/job\n0::/\n")
    put(tmp_path / "fs/memory/memory.limit_in_bytes", "9223372036854771712\n")
    put(tmp_path / "fs/memory/job/memory.limit_in_bytes", f"{GB}\n")
    put(tmp_path / "fs/cpu/x/memory.limit_in_bytes", "1\n")
    assert doctor.memory_limit(tmp_path / "cgroup", tmp_path / "fs") == GB


def test_no_control_group_is_no_limit(tmp_path):
    assert doctor.memory_limit(tmp_path / "absent", tmp_path) is None


def test_little_memory_is_said(monkeypatch):
    monkeypatch.setattr(doctor, "memory_limit", lambda: GB)
    check = by_name(doctor.diagnose())["memory"]
    assert check.status == "warn"
    assert "container" in check.found


def test_what_to_do_stands_below_what_is_wrong():
    text = doctor.report([Check("a", "ok", "1"), Check("b", "fail", "gone", "bring it back")])
    assert [line.split()[0] for line in text.splitlines()] == ["ok", "fail", "→"]
