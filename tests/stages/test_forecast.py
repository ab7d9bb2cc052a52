"""`predict --dry-run`: what it tells is what a run then takes."""

import json

import pytest
import shapely

from carbonmap.io import files
from carbonmap.lazy import stack_grid
from carbonmap.models import windows
from carbonmap.stages import common, forecast, timing
from carbonmap.stages.forecast import Forecast
from carbonmap.tiles import tiles

DRAW = ("predict", "--dates", "2020-11", "--model", "models/iidm", "-o", "m")


def told(place, capsys, *words):
    place.run(*words, "--dry-run", "--json")
    (one,) = json.loads(capsys.readouterr().out)["forecasts"]
    return one


def test_nothing_is_written_and_the_tiles_are_those_of_the_region(drawn, capsys, monkeypatch):
    monkeypatch.setattr(common, "TILE_PX", 96)
    monkeypatch.setattr(windows, "PERIOD_PX", 96)
    before = drawn.products(".")
    found = told(drawn, capsys, *DRAW)
    assert drawn.products(".") == before
    assert not (drawn.path / "m").exists()
    assert found["tiles"] == len(list(tiles(stack_grid(drawn.path / "archive", "demo"), 96)))
    assert found["tiles_outside_boundary"] == 0


def test_the_disk_told_is_the_disk_that_a_run_asks_for(drawn, capsys, monkeypatch):
    found = told(drawn, capsys, *DRAW)
    asked = []
    inner = files.require_space
    monkeypatch.setattr(
        files, "require_space", lambda path, needed: (asked.append(needed), inner(path, needed))
    )
    drawn.run(*DRAW)
    assert asked[0] <= found["disk_bytes"] < asked[0] + 10_000  # a lock and who holds it


def test_the_time_goes_by_draws_and_processes(drawn, capsys, monkeypatch):
    monkeypatch.setattr(timing, "seconds", lambda *_: {"it": 8.0})
    monkeypatch.setattr(forecast, "cpu_threads", lambda: 4)
    one = told(drawn, capsys, *DRAW, "--samples", "1", "--set", "output.threads=1")["seconds"]
    assert one == pytest.approx(8.0 * 25_600 / 256**2)
    six = told(drawn, capsys, *DRAW, "--samples", "6", "--set", "output.threads=2")["seconds"]
    assert six == pytest.approx(3 * one)


def test_a_model_that_does_not_fit_is_refused_as_by_a_run(network, capsys):
    words = ("predict", "--dates", "2020-12", "--model", "models/unet", "--dry-run")
    network.run(*words, code=1)
    assert "2020-12" in capsys.readouterr().err


def test_tiles_beside_a_boundary_are_counted():
    class Part:
        def __init__(self, left):
            self.grid = type("Grid", (), {"bounds": (left, 0, left + 10, 10)})

    parts = [Part(left) for left in (0, 10, 20, 30)]
    assert forecast._beside(parts, shapely.box(12, 2, 29, 5)) == [True, False, False, True]
    assert forecast._beside(parts, None) == [False] * 4


@pytest.mark.parametrize(
    ("seconds", "words"), [(7, "7 seconds"), (600, "10.0 minutes"), (9000, "2.5 hours"),
                           (864_000, "10.0 days")]
)  # fmt: skip
def test_a_time_is_told_in_a_unit_that_suits_it(seconds, words):
    text = Forecast(12, 3, 5_000_000, 9_000_000, 2e9, seconds).text("2020-11")
    assert f"about {words} on this machine" in text
    assert "12 tiles of 1024², 3 of them outside the boundary; 5 MB of disk" in text
