"""Claims about a new project's file, and about one that is there."""

import pytest

from carbonmap import config
from carbonmap.errors import ConfigError, OutputExists
from carbonmap.io.output import Existing
from carbonmap.stages import setup

BOX = {"crs": "EPSG:32648", "pixel_m": 16.0, "bounds": (0.0, 0.0, 1600.0, 1600.0)}


@pytest.fixture
def made(tmp_path):
    """A folder with a project file for region `land`."""
    setup.init(tmp_path, "land", **BOX)
    return tmp_path


def edit(folder, old="", new="# mine\n"):
    """Replace something in the project file; its new text."""
    path = folder / config.FILE
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new) if old else text + new, "utf-8")
    return path.read_text("utf-8")


def test_the_file_holds_the_region_that_was_asked_for(made):
    region = config.load(made / config.FILE).find_region()
    assert (region.name, region.crs, region.pixel_m) == ("land", "EPSG:32648", 16.0)
    assert region.bounds == BOX["bounds"]


@pytest.mark.parametrize("existing", [Existing.REFUSE, Existing.RENEW])
def test_the_same_file_again_is_up_to_date(made, existing):
    assert "up to date" in str(setup.init(made, "land", existing=existing, **BOX))


def test_an_edited_file_is_refused_by_hand_and_kept_by_a_pipeline(made):
    text = edit(made)
    with pytest.raises(OutputExists, match="--overwrite"):
        setup.init(made, "land", **BOX)
    report = setup.init(made, "land", existing=Existing.RENEW, **BOX)
    assert str(report).endswith("is kept, since it was edited")
    assert (made / config.FILE).read_text("utf-8") == text


def test_a_kept_region_that_differs_is_told(made):
    edit(made, "pixel_m = 16.0", "pixel_m = 32.0")
    report = setup.init(made, "land", existing=Existing.RENEW, **BOX)
    assert "region 'land' is not the one that this command would write" in str(report)


def test_a_file_without_that_region_is_never_taken_for_done(made):
    with pytest.raises(OutputExists):
        setup.init(made, "other", existing=Existing.RENEW, **BOX)
    with pytest.raises(OutputExists):  # built in, and so known to every project
        setup.init(made, "huize", existing=Existing.RENEW)


def test_a_file_that_is_no_toml_is_told_and_not_replaced(made):
    text = edit(made, new="nonsense")
    with pytest.raises(ConfigError, match="not TOML"):
        setup.init(made, "land", existing=Existing.RENEW, **BOX)
    assert (made / config.FILE).read_text("utf-8") == text


def test_overwrite_replaces_an_edited_file(made):
    edit(made)
    setup.init(made, "land", existing=Existing.OVERWRITE, **BOX)
    assert "# mine" not in (made / config.FILE).read_text("utf-8")
