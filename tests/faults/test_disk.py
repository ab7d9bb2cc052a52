"""Disks that fill up, that are read-only, or that lose their power."""

import os
import shutil

import pytest

from carbonmap.io import output
from tests.conftest import Folder
from tests.faults.harm import (
    COMMANDS,
    at,
    each,
    litter,
    obey_permissions,
    products,
    require_whole,
    run,
    set_variable,
    small_files,
)

pytestmark = pytest.mark.faults

FULL = "make room"

MOMENTS = {
    "build-labels": [
        ("carbonmap.stages.labels", "_first_pass", 100),
        ("carbonmap.io.raster", "write_tile", 100_000),
        ("carbonmap.io.cog", "write_cog", 40_000),
        ("carbonmap.io.style", "write_qml", 100),
        ("carbonmap.io.vector", "write_stands", 10_000),
        ("carbonmap.io.figures", "draw_map", 10_000),
    ],
    "ingest": [
        ("carbonmap.io.output", "_admit", 100),
        ("carbonmap.io.store", "create", 100),
        ("carbonmap.io.store", "write_block", 1000),
        ("carbonmap.io.output", "write_mark", 1000),
        ("carbonmap.io.stac", "refresh", 100),
    ],
    "train": [
        ("carbonmap.io.output", "_admit", 100),
        ("carbonmap.checkpoint", "write_weights", 1000),
        ("carbonmap.io.output", "write_mark", 1000),
    ],
    "evaluate": [
        ("carbonmap.io.output", "_admit", 100),
        ("carbonmap.io.output", "write_mark", 1000),
    ],
    "totals": [
        ("carbonmap.io.output", "_admit", 100),
        ("carbonmap.io.files", "write_text", 100),
        ("carbonmap.io.output", "write_mark", 1000),
    ],
    "report": [
        ("carbonmap.io.output", "_admit", 100),
        ("carbonmap.io.figures", "draw_map", 1000),
        ("carbonmap.io.files", "write_text", 1000),
        ("carbonmap.io.output", "write_mark", 100),
    ],
}
"""Functions from which on no file may grow beyond so many bytes: every kind of file in its turn."""

ANY_MAP = [
    ("carbonmap.io.raster", "write_tile", 1000),
    ("carbonmap.io.cog", "write_cog", 1000),
    ("carbonmap.io.cog", "write_cog", 3000),
    ("carbonmap.io.output", "write_mark", 1000),
]
"""The same of any command that makes a map from tiles."""


@each()
def test_a_disk_that_fills_at_any_moment_is_one_message_and_the_same_command_goes_on(
    place, county, clean, name
):
    """Rows 1 and 2."""
    command = COMMANDS[name]
    before = products(county, command)
    for module, function, most in MOMENTS.get(name, ANY_MAP):
        done = run(place, command.words, (at, module, function, 0, small_files, most))
        done.said(FULL)
        require_whole(place, command, before, clean[name])
        left = [n for n in litter(place.path) if not n.endswith(".work")]
        assert left == [], (module, function)
    assert run(place, command.words).code == 0
    assert products(place, command) == clean[name]
    assert litter(place.path) == []


@pytest.mark.parametrize("room_mb", [14, 25.2])
def test_a_small_disk_fills_in_the_tiles_or_in_the_maps(county, clean, disk, room_mb):
    """Rows 1 and 2, with a file system that is full: 25 MB of tiles, then 0.7 MB of maps."""
    place = Folder(disk.path / "place")
    shutil.copytree(county.path, place.path)
    room = os.statvfs(disk.path)
    used = (room.f_blocks - room.f_bfree) * room.f_frsize
    disk.change(f"size={used + int(room_mb * 2**20)}")
    command = COMMANDS["build-labels"]
    done = run(place, command.words)
    done.said(FULL, "MB are free there")
    require_whole(place, command, {}, clean["build-labels"])
    assert all(n.endswith(".labels.work") for n in litter(place.path / "labels"))
    disk.change("size=64m")
    assert run(place, command.words).code == 0
    assert products(place, COMMANDS["build-labels"]) == clean["build-labels"]
    assert litter(place.path) == []


def test_a_disk_that_cannot_hold_the_maps_is_refused_before_any_work(county, disk):
    place = Folder(disk.path / "place")
    shutil.copytree(county.path, place.path)
    room = os.statvfs(disk.path)
    used = (room.f_blocks - room.f_bfree) * room.f_frsize
    disk.change(f"size={used + 2**20}")
    run(place, COMMANDS["build-labels"].words).said(
        "needs about 2 MB", "choose another folder or disk"
    )
    assert place.products("labels") == {}


@each()
def test_every_file_is_on_the_disk_before_it_gets_its_name(place, monkeypatch, name):
    """Row 5: its bytes, then its name, then the folder that holds the name."""
    log = []
    fsync, replace = os.fsync, os.replace

    def note_fsync(handle):
        at_sync = os.fstat(handle)
        log.append(("fsync", at_sync.st_ino, at_sync.st_size, at_sync.st_mtime_ns))
        fsync(handle)

    def note_replace(old, new):
        log.append(("name", os.path.abspath(new)))
        replace(old, new)

    command = COMMANDS[name]
    before = products(place, command)
    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    place.run(*command.words)
    monkeypatch.undo()
    written = [n for n, data in products(place, command).items() if before.get(n) != data]
    assert len(written) > 1
    for one in written:
        path = place.path / command.out / one
        now = path.stat()
        bytes_kept = log.index(("fsync", now.st_ino, now.st_size, now.st_mtime_ns))
        above = {str(p): p for p in (path, *path.parents)}  # its name may come with its folder's
        named = max(k for k, event in enumerate(log) if event[0] == "name" and event[1] in above)
        folder = above[log[named][1]].parent.stat().st_ino
        name_kept = max(k for k, event in enumerate(log) if event[:2] == ("fsync", folder))
        assert bytes_kept < named < name_kept, one


@each()
def test_a_folder_that_may_not_be_written_is_one_message(place, county, name):
    """Row 28."""
    command = COMMANDS[name]
    for folder in (place.path, *(p for p in place.path.rglob("*") if p.is_dir())):
        folder.chmod(0o555)
    done = run(place, command.words, (obey_permissions,))
    done.said("cannot write", "ermission", "choose another folder or disk")
    assert place.products() == county.products()
    assert litter(place.path) == []


def test_a_disk_that_is_mounted_read_only_is_one_message(county, disk):
    """Row 28. What is finished there stays of use: it is up to date."""
    place = Folder(disk.path / "place")
    shutil.copytree(county.path, place.path)
    assert run(place, COMMANDS["mask"].words).code == 0
    disk.change("ro")
    run(place, COMMANDS["build-labels"].words).said(
        "Read-only file system", "another folder or disk"
    )
    done = run(place, COMMANDS["mask"].words)
    assert (done.code, "up to date" in done.out) == (0, True)
    done = run(place, ("ingest", "dem", "county/dem.tif"))
    assert (done.code, "up to date" in done.out) == (0, True)


@each()
def test_a_temporary_folder_without_room_is_not_needed(place, clean, disk, name):
    """Row 28."""
    disk.change("size=4k")
    variables = {"TMPDIR": disk.path, "CPL_TMPDIR": disk.path / "gone", "SQLITE_TMPDIR": disk.path}
    harm = [(set_variable, variable, str(folder)) for variable, folder in variables.items()]
    done = run(place, COMMANDS[name].words, *harm)
    assert done.code == 0, done.err
    assert products(place, COMMANDS[name]) == clean[name]
    assert list(disk.path.iterdir()) == []


def test_a_tile_that_was_lost_or_changed_after_its_run_was_cut_short_is_made_again(place, clean):
    """Row 7, in unfinished work: the journal is believed only where the tile's bytes agree."""
    command = COMMANDS["build-labels"]
    run(place, command.words, (at, "carbonmap.stages.common", "write_maps", 0, small_files, 100))
    work = place.path / "labels" / ".labels.work"
    tiles = sorted(work.rglob("*.tif"))
    assert len(tiles) == 28
    tiles[0].unlink()
    changed = bytearray(tiles[9].read_bytes())
    changed[-100] ^= 1
    tiles[9].write_bytes(changed)
    assert run(place, command.words).code == 0
    assert products(place, COMMANDS["build-labels"]) == clean["build-labels"]
    assert output.damaged(place.path / "labels" / "labels.json") == []
