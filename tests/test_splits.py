import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from carbonmap.errors import ModelError
from carbonmap.splits import Role, SplitSpec, assign_blocks, assign_roles

NO_BUFFER = SplitSpec(block_m=1000, buffer_m=0)


def squares(count=900, edge=200, seed=0):
    """Stands of one size, their corners anywhere on a land of 10 km."""
    corners = np.random.default_rng(seed).uniform(0, 10_000, (count, 2))
    return shapely.box(*corners.T, *(corners + edge).T)


def block_of(stand, spec, anchor=(0, 0)):
    point = shapely.point_on_surface(stand)
    return np.floor((anchor[1] - point.y) / spec.block_m), np.floor(
        (point.x - anchor[0]) / spec.block_m
    )


@given(
    seed=st.integers(-5, 5), share=st.floats(0.05, 0.7), buffer=st.sampled_from([0.0, 50.0, 200.0])
)
def test_no_stand_straddles_a_block_and_no_block_two_roles(seed, share, buffer):
    stands = squares(200)
    spec = SplitSpec(block_m=2000, validation_share=share, buffer_m=buffer, seed=seed)
    roles = assign_roles(stands, spec)
    held = {block_of(s, spec) for s in stands[roles == Role.VALIDATION]}
    assert held
    of_held = np.array([block_of(s, spec) in held for s in stands])
    np.testing.assert_array_equal(of_held, roles == Role.VALIDATION)


def test_a_training_stand_is_buffer_exactly_where_a_held_out_one_is_nearer():
    stands = squares()
    bare = assign_roles(stands, NO_BUFFER)
    held = shapely.union_all(stands[bare == Role.VALIDATION])
    roles = assign_roles(stands, SplitSpec(block_m=1000, buffer_m=150))
    near = shapely.distance(stands, held) < 150
    np.testing.assert_array_equal(roles == Role.BUFFER, near & (bare == Role.TRAIN))
    np.testing.assert_array_equal(roles == Role.VALIDATION, bare == Role.VALIDATION)
    assert (roles == Role.BUFFER).any()


def test_a_stand_exactly_as_far_as_the_buffer_still_trains():
    stands = shapely.box([0, 1000, 1100], 0, [900, 1050, 1900], 900)
    for seed in range(20):
        spec = SplitSpec(block_m=1000, buffer_m=100, seed=seed, validation_share=0.4)
        roles = assign_roles(stands, spec, anchor=(0, 0))
        if roles[0] == Role.VALIDATION:
            assert roles.tolist() == [Role.VALIDATION, Role.TRAIN, Role.TRAIN]
            wider = SplitSpec(block_m=1000, buffer_m=100.1, seed=seed, validation_share=0.4)
            assert assign_roles(stands, wider).tolist() == [
                Role.VALIDATION,
                Role.BUFFER,
                Role.TRAIN,
            ]
            return
    pytest.fail("no seed held the first block out")


@given(order=st.permutations(range(60)), seed=st.integers(0, 9))
def test_the_order_of_stands_changes_no_role(order, seed):
    stands, spec = squares(60), SplitSpec(block_m=1500, buffer_m=100, seed=seed)
    np.testing.assert_array_equal(
        assign_roles(stands[list(order)], spec), assign_roles(stands, spec)[list(order)]
    )


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 0.8])
def test_the_area_held_out_is_as_near_to_the_share_as_whole_blocks_allow(share):
    stands = squares()
    spec = SplitSpec(block_m=1000, validation_share=share, buffer_m=0)
    roles = assign_roles(stands, spec)
    area = shapely.area(stands)
    blocks = [block_of(s, spec) for s in stands]
    largest = max(area[[b == one for b in blocks]].sum() for one in set(blocks))
    held = area[roles == Role.VALIDATION].sum()
    assert abs(held - share * area.sum()) <= largest / 2


def test_another_seed_holds_out_other_blocks_and_the_same_seed_the_same():
    stands = squares()
    first, again, other = (
        assign_roles(stands, SplitSpec(block_m=1000, seed=seed)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_the_blocks_held_out_are_the_same_on_every_machine():
    """Python's own hash differs from run to run; a split must not."""
    centres = np.mgrid[500:5000:1000, 500:5000:1000].reshape(2, -1)
    stands = shapely.buffer(shapely.points(centres.T), 10)
    roles = assign_roles(stands, NO_BUFFER)
    assert np.flatnonzero(roles == Role.VALIDATION).tolist() == [4, 8, 10, 15, 19]


def test_blocks_lie_on_the_anchor():
    stands = squares()
    shifted = shapely.transform(stands, lambda xy: xy + np.array([12_345, -6_789]))
    np.testing.assert_array_equal(
        assign_roles(shifted, NO_BUFFER, (12_345, -6_789)), assign_roles(stands, NO_BUFFER)
    )


@given(order=st.permutations(range(60)), share=st.sampled_from([0.05, 0.2, 0.4]))
def test_stands_are_kept_aside_one_by_one_whatever_their_block_or_order(order, share):
    stands = squares(60)
    plain = assign_roles(stands, SplitSpec(block_m=1500, buffer_m=100))
    spec = SplitSpec(block_m=1500, buffer_m=100, reference_share=share)
    roles = assign_roles(stands[list(order)], spec)
    kept = roles == Role.REFERENCE
    assert kept.sum() == round(share * 60)
    np.testing.assert_array_equal(roles[~kept], plain[list(order)][~kept])
    more = assign_roles(stands, SplitSpec(block_m=1500, buffer_m=100, reference_share=share + 0.1))
    assert (more[list(order)][kept] == Role.REFERENCE).all()


def test_stands_kept_aside_are_a_random_sample():
    """Over seeds each of 40 stands is as likely as any, and pairs are, as with a shuffled deck."""
    stands = squares(40)
    specs = [SplitSpec(1500, buffer_m=0, reference_share=0.3, seed=seed) for seed in range(400)]
    drawn = np.array([assign_roles(stands, spec) == Role.REFERENCE for spec in specs])
    each = drawn.mean(0)
    assert each.min() > 0.3 - 4 * 0.023
    assert each.max() < 0.3 + 4 * 0.023
    pairs = (drawn.T.astype(float) @ drawn) / 400
    of_two = pairs[np.triu_indices(40, 1)]
    assert of_two.mean() == pytest.approx(12 * 11 / (40 * 39), abs=1e-9)
    assert of_two.std() == pytest.approx(np.sqrt(0.0846 * 0.9154 / 400), rel=0.15)


def test_a_sample_that_leaves_nothing_to_train_on_is_refused():
    with pytest.raises(ModelError, match="reference_share"):
        assign_roles(squares(20), SplitSpec(block_m=5000, buffer_m=0, reference_share=0.99))


@given(seed=st.integers(0, 9))
def test_a_stands_block_is_the_one_with_which_it_is_held_out(seed):
    stands = squares(200)
    spec = SplitSpec(block_m=2000, validation_share=0.4, buffer_m=0, seed=seed)
    blocks, roles = assign_blocks(stands, spec, (7, -3)), assign_roles(stands, spec, (7, -3))
    pairs = {(b, *block_of(s, spec, (7, -3))) for b, s in zip(blocks.tolist(), stands, strict=True)}
    assert sorted(b for b, *_ in pairs) == list(range(len(pairs)))
    assert len({tuple(place) for _, *place in pairs}) == len(pairs)
    for block in range(len(pairs)):
        assert len(set(roles[blocks == block].tolist())) == 1


def test_what_has_no_geometry_is_of_no_block():
    blocks = assign_blocks([None, *squares(3), shapely.Polygon()], NO_BUFFER)
    assert (blocks == -1).tolist() == [True, False, False, False, True]
    assert assign_blocks([None], NO_BUFFER).tolist() == [-1]
    assert assign_blocks([], NO_BUFFER).size == 0


def test_what_has_no_geometry_is_outside():
    stands = [*squares(50), None, shapely.Polygon()]
    roles = assign_roles(stands, NO_BUFFER)
    assert roles[-2:].tolist() == [Role.OUTSIDE, Role.OUTSIDE]
    assert (roles[:-2] != Role.OUTSIDE).all()
    assert assign_roles([None], NO_BUFFER).tolist() == [Role.OUTSIDE]
    assert assign_roles([], NO_BUFFER).size == 0


def test_stands_of_one_block_cannot_be_parted():
    with pytest.raises(ModelError, match="lower block_m"):
        assign_roles(squares(20), SplitSpec(block_m=1e6), anchor=(-1e4, 1e5))


def test_a_buffer_that_leaves_nothing_to_train_on_is_refused():
    with pytest.raises(ModelError, match="lower buffer_m"):
        assign_roles(squares(100), SplitSpec(block_m=1000, buffer_m=1e5))


@pytest.mark.parametrize(
    "wrong",
    [
        {"block_m": 0.0},
        {"validation_share": 1.0},
        {"validation_share": 0.0},
        {"buffer_m": -1.0},
        {"reference_share": 1.0},
    ],
)
def test_an_impossible_split_is_refused_by_name(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        SplitSpec(**wrong)
