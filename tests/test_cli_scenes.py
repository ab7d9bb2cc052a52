"""The commands for scenes: what is refused before any work."""

import pytest
from click.testing import CliRunner

from carbonmap.cli import main


@pytest.mark.parametrize("option", ["--gain", "--bias"])
@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0.1,0.1,0.1", "'0.1,0.1,0.1' must be four numbers and holds 3"),
        ("0.1,0.1,0.1,0.1,0.1", "and holds 5"),
        ("0.1", "and holds 1"),
        ("0.1,0.1,0.1,", "and is none"),
        ("a,0.1,0.1,0.1", "and is none"),
    ],
)
def test_other_than_four_numbers_are_refused_with_what_to_write(option, text, says):
    result = CliRunner().invoke(main, ["ingest", "gf1", "product", option, text])
    assert result.exit_code == 1
    assert f"{option}: " in result.output
    assert says in result.output
    assert "write blue,green,red,nir as in 0.21,0.18,0.13,0.12" in result.output


def test_a_band_of_no_reference_is_refused():
    words = ["ingest", "gf1", "product", "--region", "huize", "--reference-band", "2"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1
    assert "reference_band is the band of a GeoTIFF" in result.output
