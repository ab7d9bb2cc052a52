"""What a diffusion specification refuses, and within what it holds a map."""

import dataclasses

import pytest

from carbonmap.diffusion.samplers import UNIT
from carbonmap.diffusion.spec import PAPER, DiffusionSpec


def test_predicted_noise_has_no_weight_on_the_clean_map():
    """(1 − γ)/γ is a million at the faintest level."""
    with pytest.raises(ValueError, match=r'"clean" of predicted noise .*; predict "v", or take'):
        DiffusionSpec(predicts="noise", weighting="clean")
    for predicts, weighting in (("noise", "min-snr"), ("v", "clean"), ("clean", "clean")):
        assert DiffusionSpec(predicts=predicts, weighting=weighting).predicts == predicts


def test_the_bounds_are_those_of_a_label_in_what_is_noised():
    assert DiffusionSpec().bounds == PAPER.bounds == UNIT
    spec = DiffusionSpec(centre=-0.75, spread=0.25)
    assert spec.bounds == (-1, 7)
    assert [spec.centre + spec.spread * bound for bound in spec.bounds] == [-1, 1]
    assert dataclasses.replace(spec, clip=False).bounds is None


@pytest.mark.parametrize("wrong", [{"spread": 0.0}, {"spread": -1.0}, {"centre": -1.5}])
def test_labels_without_spread_or_centred_outside_their_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DiffusionSpec(**wrong)
