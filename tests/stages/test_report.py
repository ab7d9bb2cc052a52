"""`report`: one page that says what its maps, totals and evaluation say, and opens anywhere."""

import base64
import json
import re
from html.parser import HTMLParser

import pytest

from tests.conftest import MAP

OUTER = re.compile(
    r"""(?:src|href)\s*=\s*["'](?!data:)|@import|url\(|<script|<link""", re.IGNORECASE
)
"""What would fetch something."""


class Cells(HTMLParser):
    """The text of a page's table cells and list items, and its pictures."""

    def __init__(self):
        super().__init__()
        self.rows, self.items, self.pictures, self.open = [], [], [], []

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.pictures.append(dict(attrs)["src"])
        if tag in ("tr", "li"):
            (self.rows if tag == "tr" else self.items).append([] if tag == "tr" else "")
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1].append(data)
        if "li" in self.open:
            self.items[-1] += data


def page(place, *words, out="report"):
    place.run("report", "maps", *words, "-o", out)
    text = (place.path / out / "report.html").read_text(encoding="utf-8")
    found = Cells()
    found.feed(text)
    return text, found


@pytest.fixture
def summed(copy):
    copy.run("totals", f"maps/{MAP}", "-o", "totals")
    return copy


def test_the_page_says_what_map_totals_and_evaluation_say(summed):
    text, found = page(summed, "--totals", "totals", "--evaluation", "evaluation")
    rows = {row[0]: row for row in found.rows if row}
    (whole,) = summed.json("totals", "totals.json")["report"]["areas"]
    own = whole["pools"]["total"]
    assert rows["whole map"][2] == f"{own['t_c']:,.0f}"
    assert rows["whole map"][3] == f"{own['low_95_t_c']:,.0f} to {own['high_95_t_c']:,.0f}"
    assert rows["floor and soil"][1] == f"{whole['pools']['floor_and_soil']['t_c']:,.0f}"
    judged = summed.json("evaluation", "evaluation.json")["report"]["maps"][MAP]["validation"]
    assert rows["validation blocks"][2] == f"{judged['rmse_mg_c_ha']:.1f}"
    mark = summed.json("maps", MAP.replace(".tif", ".json"))
    assert mark["report"]["model_sha256"] in text
    bars = [row for row in found.rows if row and row[-1].endswith(" ha")]
    hectares = sum(float(row[-1][:-3].replace(",", "")) for row in bars)
    assert hectares == pytest.approx(whole["mapped_ha"], abs=len(bars))


def test_a_map_of_draws_says_how_many_and_shows_how_they_differ(drawn, capsys):
    drawn.run("predict", "--model", "models/iidm", "--dates", "2020-11", "-o", "d")
    drawn.run("report", "d", "-o", "report")
    found = Cells()
    found.feed((drawn.path / "report" / "report.html").read_text(encoding="utf-8"))
    assert ["draws", "2"] in found.rows
    assert ["sampler's steps", "2"] in found.rows
    assert len(found.pictures) == 2
    capsys.readouterr()
    drawn.run("report", f"d/{MAP.replace('.tif', '_sd.tif')}", "-o", "refused", code=1)
    assert "`carbonmap predict` wrote" in capsys.readouterr().err


def test_the_page_needs_nothing_else_and_its_pictures_are_whole(summed):
    text, found = page(summed, "--totals", "totals")
    assert not OUTER.search(text)
    (picture,) = found.pictures
    kind, data = picture.split(",", 1)
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data, validate=True).startswith(b"\x89PNG")


def test_what_anyone_must_know_is_said_first(summed):
    _, found = page(summed)
    assert "soil is included" in found.items[0]
    assert any("has no interval" in one for one in found.items)
    _, found = page(summed, "--totals", "totals", out="again")
    assert any("are the model's word" in one for one in found.items)
    assert not any("has no interval" in one for one in found.items)


def test_names_are_text_and_never_markup(summed):
    mark = summed.path / "totals" / "totals.json"
    held = json.loads(mark.read_text(encoding="utf-8"))
    held["report"]["areas"][0]["name"] = "<script>alert('县')</script>"
    mark.write_text(json.dumps(held), encoding="utf-8")
    text, _ = page(summed, "--totals", "totals")
    assert "<script" not in text
    assert "&lt;script&gt;alert(&#39;县&#39;)" in text


def test_the_same_things_give_the_same_page_and_a_second_run_nothing(summed, capsys):
    words = ("--totals", "totals", "--evaluation", "evaluation")
    one, _ = page(summed, *words)
    other, _ = page(summed, *words, out="again")
    assert one == other
    capsys.readouterr()
    page(summed, *words)
    assert "is up to date" in capsys.readouterr().out


def test_totals_and_evaluations_of_other_maps_are_refused(summed, capsys):
    for name, key in (("totals", "--totals"), ("evaluation", "--evaluation")):
        mark = summed.path / name / f"{name}.json"
        held = json.loads(mark.read_text(encoding="utf-8"))
        held["origin"]["map" if name == "totals" else "maps"] = (
            "0" * 64 if name == "totals" else {"other.tif": "0" * 64}
        )
        mark.write_text(json.dumps(held), encoding="utf-8")
        capsys.readouterr()
        summed.run("report", "maps", key, name, "-o", "refused", code=1)
        assert "among the maps" in capsys.readouterr().err
        assert not (summed.path / "refused" / "report.html").exists()


def test_labels_are_no_map_of_a_model(copy, capsys):
    for found in ("labels", "labels/carbon_density.tif"):
        copy.run("report", found, "-o", "refused", code=1)
        assert "`carbonmap predict` wrote" in capsys.readouterr().err
    assert not (copy.path / "refused").exists()
