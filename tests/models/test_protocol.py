import numpy as np
import pytest

from carbonmap.grid import Grid
from carbonmap.models.protocol import Fake, Model

GRID = Grid("EPSG:32612", 30.0, row=-7, col=12, height=20, width=25)


def layers(fake, grid=GRID):
    shape = grid.padded(fake.halo).shape
    return {fake.layer: np.random.default_rng(0).integers(0, 10, shape).astype(np.float32)}


def cut(seen, fake, roi):
    rows, cols = (slice(s.start, s.stop + 2 * fake.halo) for s in roi)
    return {k: v[rows, cols] for k, v in seen.items()}


@pytest.mark.parametrize("halo", [0, 1, 3])
@pytest.mark.parametrize("roi", [np.s_[0:7, 0:25], np.s_[5:6, 9:10], np.s_[13:20, 3:11]])
def test_the_fakes_tile_is_its_part_of_the_whole(halo, roi):
    fake: Model = Fake(halo=halo)
    seen = layers(fake)
    part = fake.predict(cut(seen, fake, roi), GRID[roi])
    np.testing.assert_array_equal(part, fake.predict(seen, GRID)[roi])


def test_the_fakes_figure_by_hand():
    fake = Fake(halo=1)
    seen = {"nir": np.arange(9, dtype=np.float32).reshape(3, 3)}
    place = Grid("EPSG:32612", 30.0, row=23, col=-4, height=1, width=1)
    assert fake.predict(seen, place).item() == np.float32(100 * 4 + 10 * (8 - 0) + 3 + 0.6)


def test_the_fake_gives_away_a_tile_in_the_wrong_place_and_a_shifted_layer():
    fake = Fake(halo=2)
    seen = layers(fake)
    right = fake.predict(seen, GRID)
    elsewhere = Grid("EPSG:32612", 30.0, row=-6, col=12, height=20, width=25)
    assert (fake.predict(seen, elsewhere) != right).all()
    shifted = {k: np.roll(v, 1, axis=0) for k, v in seen.items()}
    assert (fake.predict(shifted, GRID) != right).mean() > 0.5


def test_the_fake_feels_a_change_at_the_corner_of_its_halo():
    fake = Fake(halo=3)
    seen = layers(fake)
    before = fake.predict(seen, GRID)
    seen["nir"][0, 0] += 1
    changed = np.argwhere(fake.predict(seen, GRID) != before)
    assert changed.tolist() == [[0, 0]]
