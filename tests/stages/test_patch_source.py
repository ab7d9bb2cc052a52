"""Batches from a small county's archive and labels."""

import dataclasses
import threading
import time

import numpy as np
import pytest

from carbonmap.features import BANDS, features
from carbonmap.io import lattice, vector
from carbonmap.lazy import open_stack, stack_grid
from carbonmap.normalise import Inputs, Moments, encode
from carbonmap.patches import CELL_PX, Places
from carbonmap.splits import Role, SplitSpec, assign_roles
from carbonmap.stages import common, patches, scope
from carbonmap.stages.patches import Blocks, PatchSource, Prefetched, survey
from carbonmap.stages.sampler import Sampler

INPUTS = Inputs(("image", "terrain"))
SCALE, PATCH, SLOTS = 300.0, 32, range(6)


@pytest.fixture(scope="module")
def county(labelled):
    """Sampler, stacks, and labels, roles and usable training pixels as whole arrays."""
    archive, labels = labelled.path / "archive", labelled.path / "labels"
    grid = stack_grid(archive, "demo")
    stands = vector.read_stands(labels / "stands.parquet")
    outlines = np.array(stands.geometry.array, dtype=object)
    roles = assign_roles(outlines, SplitSpec(block_m=500.0, buffer_m=50.0), grid.anchor)
    sampler = Sampler(grid, labels, roles, 0.9, None, seed=0)
    density, share, stand = (
        lattice.read_on_grid(labels / f"{name}.tif", grid)
        for name in ("carbon_density", "coverage", "stand")
    )
    role = np.r_[0, roles][np.nan_to_num(stand).astype(int)]
    sound = (np.nan_to_num(share) >= 0.9) & (np.nan_to_num(share) <= 1.001) & np.isfinite(density)
    stacks = [open_stack(archive, "demo", ["2020-11"])]
    return sampler, stacks, density, np.where(sound, role, 0)


@pytest.fixture(scope="module")
def source(county):
    sampler, stacks, *_ = county
    found = survey(sampler, stacks, INPUTS, Role.TRAIN)
    norm = found.moments.normalisation()
    places = Places(sampler.grid, found.counts, PATCH, seed=5)
    return PatchSource(sampler, stacks, INPUTS, norm, SCALE, places, Role.TRAIN, SLOTS)


def plain(source):
    """The same source with patches as they lie."""
    return dataclasses.replace(source, places=dataclasses.replace(source.places, augment=False))


def equal(one, other):
    return all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


def test_the_survey_counts_and_measures_every_usable_pixel(county, source):
    sampler, stacks, _, role = county
    seen = scope.read_layers(stacks[0], sampler.grid, sampler.grid, INPUTS.layers, 1)
    x = features(seen, INPUTS.features, sampler.grid.pixel_m)
    taken = (role == Role.TRAIN) & np.isfinite(x[0])
    found = survey(sampler, stacks * 2, INPUTS, Role.TRAIN)
    assert found.counts.sum() == 2 * taken.sum()
    assert found.counts[1, 1, 2] == taken[32:64, 64:96].sum()
    np.testing.assert_array_equal(found.counts[0], source.places.counts[0])
    want = Moments.of(x[:, taken].T)
    np.testing.assert_allclose(found.moments.mean, want.mean, rtol=1e-9)
    np.testing.assert_allclose(found.moments.products, 2 * want.products, rtol=1e-9)


def test_the_survey_depends_on_neither_threads_nor_tiles(county, monkeypatch):
    sampler, stacks, *_ = county
    found = [survey(sampler, stacks, INPUTS, Role.TRAIN, threads) for threads in (1, 3)]
    assert found[0].moments.mean.tobytes() == found[1].moments.mean.tobytes()
    monkeypatch.setattr(common, "TILE_PX", 57)
    cut = survey(sampler, stacks, INPUTS, Role.TRAIN)
    np.testing.assert_array_equal(cut.counts, found[0].counts)
    np.testing.assert_allclose(cut.moments.products, found[0].moments.products, rtol=1e-9)


def test_a_patch_is_the_maps_layers_and_labels_at_its_place(county, source):
    sampler, stacks, density, role = county
    batch = plain(source).batch(3)
    assert batch.condition.shape == (6, len(INPUTS.channels), PATCH, PATCH)
    assert batch.condition.dtype == batch.target.dtype == batch.weight.dtype == np.float32
    wide = {
        k: np.pad(v, PATCH, constant_values=np.nan)
        for k, v in scope.read_layers(
            stacks[0], sampler.grid, sampler.grid, INPUTS.layers, 0
        ).items()
    }
    for slot in SLOTS:
        place = source.places.place(3, slot).grid
        top, left = place.row - sampler.grid.row, place.col - sampler.grid.col
        cut = np.s_[top + PATCH - 1 : top + 2 * PATCH + 1, left + PATCH - 1 : left + 2 * PATCH + 1]
        want = encode({k: v[cut] for k, v in wide.items()}, INPUTS, source.norm, place.pixel_m)
        np.testing.assert_array_equal(batch.condition[slot], want)
        label, of = (np.pad(a, PATCH)[cut][1:-1, 1:-1] for a in (density, role))
        usable = (of == Role.TRAIN) & (want[-1] == 1)
        np.testing.assert_array_equal(batch.weight[slot, 0], usable)
        np.testing.assert_allclose(
            batch.target[slot, 0][usable], 2 * label[usable] / SCALE - 1, atol=1e-5
        )
        assert (batch.target[slot, 0][~usable] == -1).all()
    assert 0.2 < batch.weight.mean() < 1


def test_no_label_of_another_role_is_in_any_batch(county, source):
    """Every density that a batch tells is one of a training pixel's."""
    _, _, density, role = county
    scaled = 2 * density.astype(np.float32) / np.float32(SCALE) - 1
    own = set(scaled[role == Role.TRAIN].tolist())
    others = set(scaled[role != Role.TRAIN].tolist()) - own
    assert len(others) > 100
    for step in range(4):
        batch = source.batch(step)
        assert set(batch.target.ravel().tolist()) <= own | {-1.0}
        assert (batch.weight[batch.target != -1] == 1).all()


def test_held_out_pixels_come_by_a_source_of_their_own(county, source):
    sampler, stacks, _, role = county
    counts = survey(sampler, stacks, INPUTS, Role.VALIDATION).counts
    places = dataclasses.replace(source.places, counts=counts, augment=False)
    held = dataclasses.replace(source, role=Role.VALIDATION, places=places)
    batch = held.batch(0)
    place = places.place(0, 0).grid
    rows = slice(max(place.row - sampler.grid.row, 0), place.row - sampler.grid.row + PATCH)
    cols = slice(max(place.col - sampler.grid.col, 0), place.col - sampler.grid.col + PATCH)
    assert batch.weight[0].sum() == (role[rows, cols] == Role.VALIDATION).sum() > 0
    assert not equal(held.batch(0), source.batch(0))  # though both read by one cache


def test_a_batch_follows_from_its_step_alone(source):
    fresh = dataclasses.replace(source, blocks=Blocks())
    late = [fresh.batch(step) for step in (8, 2)]
    assert equal(source.batch(2), late[1])
    assert equal(source.batch(8), late[0])
    assert not equal(*late)


def test_processes_share_the_batch_that_one_alone_would_take(source):
    parts = [dataclasses.replace(source, slots=SLOTS[s]).batch(4) for s in (slice(2), slice(2, 6))]
    whole = source.batch(4)
    for name in whole._fields:
        joined = np.concatenate([getattr(p, name) for p in parts])
        np.testing.assert_array_equal(joined, getattr(whole, name))


@pytest.mark.parametrize("most", [0, 200_000, 1 << 30])
def test_neither_block_size_nor_a_full_cache_changes_a_batch(source, monkeypatch, most):
    few = dataclasses.replace(source, slots=range(3))
    want = [few.batch(step) for step in range(2)]
    monkeypatch.setattr(patches, "BLOCK_PX", 48)
    small = dataclasses.replace(few, blocks=Blocks(most))
    assert all(equal(small.batch(step), want[step]) for step in range(2))
    largest = 4 * 48 * 48
    assert small.blocks.held_bytes <= max(most, largest)


def test_the_cache_reads_a_block_once_and_drops_the_one_longest_unused():
    read, blocks = [], Blocks(most_bytes=80)

    def get(key):
        return blocks.get(key, lambda: (read.append(key), np.full(10, key, np.float32))[1])

    assert [get(k)[0] for k in (1, 2, 1, 3, 1, 2)] == [1, 2, 1, 3, 1, 2]
    assert read == [1, 2, 3, 2]
    assert blocks.held_bytes == 80


def test_a_patch_without_a_band_is_one_of_which_that_band_is_unknown(source):
    source = dataclasses.replace(source, norm=dataclasses.replace(source.norm, whitening=()))
    drop = dataclasses.replace(source, band_drop=0.5).batch(1)
    full = source.batch(1)
    wide = len(BANDS)
    lost = (drop.condition[:, :wide] == 0).all(axis=(2, 3))
    assert 0 < lost.sum() < lost.size
    np.testing.assert_array_equal(drop.condition[:, wide:], full.condition[:, wide:])
    np.testing.assert_array_equal(drop.condition[:, :wide][~lost], full.condition[:, :wide][~lost])
    assert drop.target.tobytes() == full.target.tobytes()


def test_augmented_patches_are_turned_with_their_labels(source):
    turned, as_is = source.batch(6), plain(source).batch(6)
    ways = [source.places.place(6, slot).symmetry for slot in SLOTS]
    assert len(set(ways)) > 2
    for slot, way in zip(SLOTS, ways, strict=True):
        for name in ("weight", "target", "condition"):  # the gradient's channels as any other
            for found, want in zip(
                getattr(turned, name)[slot], getattr(as_is, name)[slot], strict=True
            ):
                laid = np.rot90(want, way % 4)
                np.testing.assert_array_equal(found, laid[:, ::-1] if way >= 4 else laid)


def test_patches_centres_are_usable_cells(source):
    grid = source.sampler.grid
    for slot in range(50):
        place = source.places.place(0, slot).grid
        row, col = (
            (place.row + PATCH // 2 - grid.row) // CELL_PX,
            (place.col + PATCH // 2 - grid.col) // CELL_PX,
        )
        assert source.places.counts[0, row, col] > 0


def threads():
    return [t for t in threading.enumerate() if t.name.startswith("patches")]


@pytest.mark.parametrize("count", [1, 3])
def test_prefetched_gives_every_step_once_and_in_order(count):
    made = []

    def batch(step):
        made.append(step)
        time.sleep(0.01 * (step % 2))
        return step * step

    with Prefetched(batch, range(4, 14), count) as ready:
        assert list(ready) == [k * k for k in range(4, 14)]
    assert sorted(made) == list(range(4, 14))
    assert not threads()


def test_two_batches_are_ready_before_they_are_asked_for():
    made = []
    with Prefetched(made.append, range(9)) as ready:
        steps = iter(ready)
        next(steps)
        time.sleep(0.1)
        assert made in ([0, 1, 2], [0, 1])


def test_waiting_is_counted_and_only_waiting():
    def slow(step):
        time.sleep(0.05)
        return step

    with Prefetched(slow, range(4)) as ready:
        list(ready)
        assert 0.15 < ready.waited_s < 2
    with Prefetched(slow, range(4)) as ready:
        for _ in ready:
            time.sleep(0.2)
        assert ready.waited_s < 0.15


def test_what_fails_is_raised_at_its_own_step_and_nothing_is_left_running():
    made = []

    def batch(step):
        made.append(step)
        if step == 2:
            raise OSError("the disk is gone")
        return step

    seen = []
    with pytest.raises(OSError, match="disk"), Prefetched(batch, range(1000)) as ready:
        seen.extend(ready)
    assert max(made) <= 5
    assert not threads()


@pytest.mark.parametrize("how", [KeyboardInterrupt, GeneratorExit])
def test_an_interrupt_ends_the_thread(how):
    made = []

    def work():
        with Prefetched(made.append, range(1000)) as ready:
            for number, _ in enumerate(ready):
                if number == 3:
                    raise how

    with pytest.raises(how):
        work()
    assert len(made) < 10
    assert not threads()
