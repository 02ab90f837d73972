"""The diagnosis finds the properties that were built in, and says so."""

import numpy as np
import pytest

from nestbit.advise import diagnose, in_words
from nestbit.errors import InputError


def gaussian(n=1500, dim=64, spread=None, mean=0.0, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, dim)) * (1 if spread is None else spread) + mean
    return x.astype(np.float32)


def words(found):
    return " ".join(in_words(found))


def test_even_rows_have_a_flat_spectrum_even_signs_and_no_mean():
    found = diagnose(gaussian())
    assert found.effective_dim > 55
    assert found.mean_length < 0.1
    assert found.outliers == ()
    assert found.sign_entropy.min() > 0.98
    assert not found.matryoshka
    assert found.signs_suit
    assert abs(found.kurtosis) < 0.3
    assert "spectrum is flat" in words(found)
    assert "never truncate" in words(found)


def test_a_common_direction_is_found_and_centring_advised():
    found = diagnose(gaussian(mean=np.full(64, 2.0)))
    assert found.mean_length > 0.8
    assert found.sign_entropy.max() < 0.5
    assert not found.signs_suit
    assert "strong anisotropy" in words(found)
    assert "center | " in words(found)


def test_falling_energy_makes_prefixes_matryoshka_like():
    found = diagnose(gaussian(spread=np.arange(1, 65) ** -0.8))
    assert found.matryoshka
    assert found.prefix_recall[32] > found.random_recall[32] + 0.2
    assert found.axes_for(0.5) < 10 < found.axes_for(0.95)
    assert found.axes_for(1.0) == 64
    assert "truncation is worth trying" in words(found)
    assert "spectrum is steep" in words(found)


def test_a_loud_dimension_is_named():
    spread = np.ones(64)
    spread[17] = 8
    found = diagnose(gaussian(spread=spread))
    assert found.outliers == (17,)
    assert "17" in words(found)


def test_features_that_are_never_negative_are_told():
    found = diagnose(np.abs(gaussian()))
    assert found.sorted_values[0] >= 0
    assert "None is negative" in words(found)


def test_the_spectrum_adds_up_and_falls():
    found = diagnose(gaussian(spread=np.arange(1, 65) ** -0.5))
    assert found.spectrum.sum() == pytest.approx(1)
    assert (np.diff(found.spectrum) <= 0).all()


def test_zero_rows_are_left_out_and_too_few_refused():
    x = gaussian(300)
    x[:100] = 0
    assert diagnose(x).n == 200
    with pytest.raises(InputError, match="needs 200 rows"):
        diagnose(x[:-1])
