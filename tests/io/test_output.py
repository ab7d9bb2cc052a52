"""What happens to output that exists, is being written, or was cut short."""

import json
import os

import numpy as np
import pytest

from carbonmap.errors import CorruptData, MissingInput, OutputBusy, OutputExists
from carbonmap.io import files, output
from carbonmap.io.output import Existing, claim

ORIGIN = {"stage": "test", "settings": {"pixel_m": 16.0}}
OTHER = {"stage": "test", "settings": {"pixel_m": 30.0}}


def finish(mark, origin=ORIGIN, text="a map", existing=Existing.REFUSE):
    with claim(mark, origin, existing) as work:
        if work is not None:
            product = mark.parent / "map.bin"
            product.write_text(text)
            work.finish([product], {})
        return work


def test_finished_output_of_the_same_origin_is_up_to_date(tmp_path):
    assert finish(tmp_path / "m.json") is not None
    assert finish(tmp_path / "m.json") is None
    assert not (tmp_path / ".m.work").exists()


def test_finished_output_of_another_origin_is_refused_with_the_difference(tmp_path):
    finish(tmp_path / "m.json")
    with pytest.raises(OutputExists, match=r"settings\.pixel_m: 16\.0 → 30\.0") as caught:
        finish(tmp_path / "m.json", OTHER)
    assert "--overwrite" in str(caught.value)
    assert (tmp_path / "map.bin").read_text() == "a map"
    assert not (tmp_path / ".m.work").exists()


@pytest.mark.parametrize("existing", [Existing.OVERWRITE, Existing.RENEW])
def test_overwriting_begins_anew(tmp_path, existing):
    finish(tmp_path / "m.json")
    assert finish(tmp_path / "m.json", OTHER, "another", existing) is not None
    assert json.loads((tmp_path / "m.json").read_text())["origin"] == OTHER


def test_renewing_leaves_output_of_the_same_origin_alone(tmp_path):
    finish(tmp_path / "m.json")
    assert finish(tmp_path / "m.json", existing=Existing.RENEW) is None
    assert finish(tmp_path / "m.json", existing=Existing.OVERWRITE) is not None


@pytest.mark.faults
def test_no_number_of_a_report_keeps_finished_output_from_its_mark(tmp_path):
    """The old output is gone by then, and the next run would fail alike."""
    finish(tmp_path / "m.json", OTHER)
    report = {"a": float("nan"), "b": [{"c": np.float32("inf")}, (np.float64("nan"), np.int64(2))]}
    with claim(tmp_path / "m.json", ORIGIN, Existing.OVERWRITE) as work:
        work.begin_publishing()
        work.finish([tmp_path / "map.bin"], report)
    held = json.loads((tmp_path / "m.json").read_text())
    assert held["report"] == {"a": None, "b": [{"c": None}, [None, 2]]}
    assert output.damaged(tmp_path / "m.json") == []


def test_an_interrupted_run_is_resumed_with_its_finished_tiles(tmp_path):
    mark = tmp_path / "m.json"
    with claim(mark, ORIGIN) as work:
        work.record("r0c0", {"sum": 3.5})  # and the run ends without finish()
    with claim(mark, ORIGIN) as work:
        assert work.done == {"r0c0": {"sum": 3.5}}


def test_an_interrupted_run_of_another_origin_is_refused_and_kept(tmp_path):
    mark = tmp_path / "m.json"
    with claim(mark, ORIGIN) as work:
        work.record("r0c0", {})
    with pytest.raises(OutputExists, match="unfinished output"), claim(mark, OTHER):
        pass
    with claim(mark, OTHER, Existing.OVERWRITE) as work:
        assert work.done == {}


def test_a_run_that_failed_before_its_first_tile_stands_in_nobodys_way(tmp_path):
    with claim(tmp_path / "m.json", ORIGIN):
        pass
    with claim(tmp_path / "m.json", OTHER) as work:
        assert (work.origin, work.done) == (OTHER, {})


def test_a_journal_line_cut_short_is_a_tile_to_do_again(tmp_path):
    mark = tmp_path / "m.json"
    with claim(mark, ORIGIN) as work:
        work.record("r0c0", {})
    with (tmp_path / ".m.work" / "journal.jsonl").open("a") as stream:
        stream.write('{"tile": "r0c')
    with claim(mark, ORIGIN) as work:
        assert list(work.done) == ["r0c0"]


def test_a_second_run_into_the_same_output_is_refused(tmp_path):
    with (
        claim(tmp_path / "m.json", ORIGIN),
        pytest.raises(OutputBusy, match=f"process {os.getpid()}"),
        claim(tmp_path / "m.json", ORIGIN),
    ):
        pass


def test_a_changed_product_is_not_up_to_date(tmp_path):
    finish(tmp_path / "m.json")
    (tmp_path / "map.bin").write_text("b map")
    assert output.damaged(tmp_path / "m.json") == ["map.bin"]
    assert finish(tmp_path / "m.json") is not None
    assert output.damaged(tmp_path / "m.json") == []


def test_an_output_is_required_whole(tmp_path):
    with pytest.raises(MissingInput, match="incomplete"):
        output.require_complete(tmp_path / "m.json", "labels")
    finish(tmp_path / "m.json")
    assert output.require_complete(tmp_path / "m.json", "labels")["origin"] == ORIGIN
    (tmp_path / "map.bin").unlink()
    with pytest.raises(CorruptData, match=r"map\.bin"):
        output.require_complete(tmp_path / "m.json", "labels")


@pytest.mark.faults
def test_a_file_is_forced_to_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    """Row 5: after a power loss there is the old file or the new one."""
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda fd: (calls.append(("fsync", os.fstat(fd).st_ino)), fsync(fd))
    )
    monkeypatch.setattr(
        os, "replace", lambda a, b: (calls.append(("replace", os.stat(a).st_ino)), replace(a, b))
    )
    files.write_text(tmp_path / "a.txt", "whole")
    inode = (tmp_path / "a.txt").stat().st_ino
    assert calls == [("fsync", inode), ("replace", inode), ("fsync", tmp_path.stat().st_ino)]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    final = tmp_path / "a.txt"
    files.write_text(final, "old")

    def fail():
        with files.partial(final) as path:
            path.write_text("ne")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert final.read_text() == "old"
    assert list(tmp_path.iterdir()) == [final]


@pytest.mark.faults
@pytest.mark.parametrize("name", ["a", "碳" * 80, "y" * 240])
def test_what_a_killed_write_left_is_removed_by_the_next_one(tmp_path, name):
    """Row 4: GDAL's COG driver leaves overviews beside the file."""
    final = tmp_path / f"{name}.tif"
    partial = files.partial_of(final)
    for left in ("", ".ovr.tmp", ".msk.ovr.tmp"):
        partial.with_name(partial.name + left).write_text("half")
    with files.partial(final) as path:
        assert not path.exists()
        path.write_text("whole")
    assert final.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [final]


def test_partial_names_of_long_names_stay_apart(tmp_path):
    first, second = (files.partial_of(tmp_path / ("y" * 240 + end)) for end in ("a.tif", "b.tif"))
    assert first != second
    assert len(first.name) < 200


def test_what_a_killed_process_was_writing_is_swept_and_finished_parts_and_drafts_stay(tmp_path):
    with claim(tmp_path / "m.json", ORIGIN) as work:
        work.record("r0c0", {})
        left = work.folder / "tiles"
        (left / ".d.partial").mkdir(parents=True)
        with files.partial(left / "r0c1.tif", contested=True) as path:
            path.write_bytes(b"half")
            killed = path.with_name(path.name.replace(".tif", "0.tif"))
            killed.write_bytes(b"half")
    assert (left / "r0c1.tif").read_bytes() == b"half"
    assert killed.is_file()
    with claim(tmp_path / "m.json", ORIGIN) as work:
        assert sorted(p.name for p in left.iterdir()) == [".d.partial", "r0c1.tif"]
        assert "r0c0" in work.done
