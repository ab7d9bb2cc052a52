"""`info` and `verify` on the output of a small county, whole and hurt."""

import json
import shutil

import pytest

from carbonmap.stages import common
from tests.conftest import MAP

MARK = MAP.replace(".tif", ".json")


def told(capsys, place, command, path=".", code=0):
    place.run(command, path, "--json", code=code)
    found = json.loads(capsys.readouterr().out)
    return found["whole"], {o["path"]: o for o in found["outputs"]}


@pytest.mark.parametrize("command", ["info", "verify"])
def test_what_clean_runs_made_is_whole(mapped, capsys, monkeypatch, command):
    monkeypatch.chdir(mapped.path)
    whole, outputs = told(capsys, mapped, command)
    assert whole
    stages = {o["stage"] for o in outputs.values()}
    assert stages >= {"build-labels", "train", "predict", "evaluate", "simulate"}
    assert "archive/demo/image_2020-11-15/layer.json" in outputs
    assert {o["state"] for o in outputs.values()} == {"complete"}
    (one,) = told(capsys, mapped, command, f"maps/{MAP}")[1].values()
    files = [p for p in (mapped.path / "maps").glob("demo*") if p.name != MARK]
    assert one["bytes"] == sum(p.stat().st_size for p in files)


def test_one_flipped_bit_is_found_by_reading_all_and_a_cut_file_by_its_size(copy, capsys):
    path = copy.path / "maps" / MAP
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert told(capsys, copy, "info", "maps")[0]
    whole, outputs = told(capsys, copy, "verify", "maps", code=1)
    assert not whole
    assert outputs[f"maps/{MARK}"]["wrong"] == [MAP]
    path.write_bytes(data[:-9])
    whole, outputs = told(capsys, copy, "info", "maps")
    assert outputs[f"maps/{MARK}"]["state"] == "damaged"
    copy.run("verify", "maps", code=1)
    assert f"{MAP} gone or changed since it was written" in capsys.readouterr().out


def test_a_deleted_chunk_of_a_layer_is_found(copy, capsys):
    chunk = next((copy.path / "archive" / "demo" / "elevation").rglob("c/*/*"))
    chunk.unlink()
    whole, outputs = told(capsys, copy, "info", "archive")
    assert not whole
    assert outputs["archive/demo/elevation/layer.json"]["wrong"]


def test_a_map_without_its_mark_and_a_run_that_stopped_are_told(copy, capsys, monkeypatch):
    copy.path.joinpath("maps", MARK).unlink()
    (one,) = told(capsys, copy, "info", f"maps/{MAP}")[1].values()
    assert one["state"] == "unmarked"
    monkeypatch.setattr(common, "write_maps", lambda *_: (_ for _ in ()).throw(OSError("gone")))
    words = ("predict", "--dates", "2020-11", "--model", "models/ols", "-o")
    copy.run(*words, "stopped", code=1)
    whole, outputs = told(capsys, copy, "info", "stopped")
    assert not whole
    (one,) = outputs.values()
    assert (one["state"], one["stage"]) == ("unfinished", "predict")
    assert one["parts"] >= 1
    copy.run("verify", "stopped", code=1)
    monkeypatch.undo()
    copy.run(*words, "stopped")
    copy.run("verify", "stopped")


def test_a_mark_that_is_cut_or_lost_is_told_whatever_it_declares(copy, capsys):
    model, layer = copy.path / "models" / "ols", copy.path / "archive" / "demo" / "elevation"
    (model / "model.json").write_bytes((model / "model.json").read_bytes()[:40])
    (layer / "layer.json").unlink()
    for command, code in (("info", 0), ("verify", 1)):
        whole, outputs = told(capsys, copy, command, code=code)
        assert not whole
        assert outputs["models/ols/model.json"]["state"] == "damaged"
        assert outputs["archive/demo/elevation/data.zarr"]["state"] == "unmarked"


def test_a_file_that_is_no_raster_hides_nothing_else(copy, capsys):
    (copy.path / "raw.tif").write_text("<html>404</html>")
    (copy.path / "maps" / "empty.tif").write_bytes(b"")
    assert told(capsys, copy, "verify")[0]


def test_a_map_beside_another_is_told_once(drawn, capsys):
    drawn.run("predict", "--dates", "2020-11", "--model", "models/iidm", "-o", "m")
    capsys.readouterr()
    (one,) = told(capsys, drawn, "verify", "m")[1].values()
    assert one["path"] == f"m/{MARK}"
    path = drawn.path / "m" / MAP.replace(".tif", "_sd.tif")
    path.write_bytes(path.read_bytes()[:-9])
    (one,) = told(capsys, drawn, "verify", "m", code=1)[1].values()
    assert one["wrong"] == [path.name]


def test_what_carbonmap_never_wrote_is_not_judged(copy, capsys):
    other = copy.path / "other"
    other.mkdir()
    shutil.copy(copy.path / "county" / "dem.tif", other / "dem.tif")
    (other / "settings.json").write_text('{"files": 3}')
    copy.run("info", "other", code=1)
    assert "holds nothing that carbonmap wrote" in capsys.readouterr().err
    copy.run("verify", "nowhere", code=1)
    assert "there is no such file" in capsys.readouterr().err
