"""Many products: what stops all of them, and what only the one that it concerns."""

from pathlib import Path

import pytest

from carbonmap import errors, landscape
from carbonmap.stages.common import Report
from carbonmap.stages.gf1 import SceneOptions, batch, ingest_gf1
from tests.gf1_products import NAME

GRID = landscape.county_grid(8, 8)

NAMES = ("a", "b", "c")


@pytest.fixture
def ingest(monkeypatch, tmp_path):
    """Ingest three products, of which the second raises an error."""

    def call(error, **how):
        def one(_place, source: Path, *_):
            if source.stem == "b":
                raise error
            return Report(source.stem, {"scene": source.stem})

        monkeypatch.setattr(batch, "ingest_scene", one)
        monkeypatch.setattr(batch, "require_common", lambda *_: None)
        paths = [tmp_path / f"{name}.tiff" for name in NAMES]
        for path in paths:
            path.touch()
        return ingest_gf1(tmp_path, "r", GRID, paths, SceneOptions(), threads=1, **how)

    return call


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["InputError", "MissingInput", "OutputExists", "GridError"])
def test_what_concerns_one_product_is_skipped_with_keep_going(ingest, tmp_path, kind):
    error = getattr(errors, kind)("it is odd")
    with pytest.raises(errors.CarbonmapError, match="it is odd"):
        ingest(error)
    report = ingest(error, keep_going=True)
    assert [one["scene"] for one in report.data["scenes"]] == ["a", "c"]
    assert report.data["skipped"] == {str(tmp_path / "b.tiff"): "it is odd"}
    assert "skipped b.tiff: it is odd" in str(report)


@pytest.mark.faults
@pytest.mark.parametrize(
    "kind", ["OutputBusy", "WriteError", "CorruptData", "ModelError", "ConfigError"]
)
def test_what_the_next_product_would_meet_as_well_stops_all(ingest, kind):
    with pytest.raises(getattr(errors, kind), match="it is odd"):
        ingest(getattr(errors, kind)("it is odd"), keep_going=True)


def test_archives_of_other_names_are_a_note_and_no_failure(monkeypatch, tmp_path):
    monkeypatch.setattr(batch, "ingest_scene", lambda *_: Report("made", {"scene": "a"}))
    monkeypatch.setattr(batch, "require_common", lambda *_: None)
    for name in (f"{NAME}.tar.gz", "二月 影像.tar.gz", "b.zip"):
        (tmp_path / name).touch()
    report = ingest_gf1(tmp_path, "r", GRID, [tmp_path], SceneOptions(), threads=1)
    assert not report.incomplete
    assert report.data["left_aside"] == [str(tmp_path / n) for n in ("b.zip", "二月 影像.tar.gz")]
    assert str(report) == (
        "made\n2 archives whose names are no GF-1 WFV products' were left aside: b.zip, "
        "二月 影像.tar.gz (give a product's archive its own name, GF1_WFV…_L1A….tar.gz)"
    )


def test_an_error_among_many_names_its_product(ingest):
    with pytest.raises(errors.InputError, match=r"b\.tiff: it is odd; --keep-going skips"):
        ingest(errors.GridError("it is odd"))
