"""Rotations and RaBitQ's encoder equal the NumPy oracle on every instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from kernel_cases import ISAS

from nestbit import _native
from nestbit.errors import InputError
from nestbit.kernels import reference, rotation

DIMS = [1, 2, 3, 5, 8, 12, 15, 16, 17, 32, 60, 64, 100, 128, 384, 768, 1000, 1024, 1280]

every_isa = pytest.mark.parametrize("isa", ISAS)


def random_signs(rng, rounds, r):
    return rng.choice(np.array([-1, 1], np.float32), (rounds, r))


@every_isa
@pytest.mark.parametrize("r", DIMS)
def test_rotations_equal_the_oracle(isa, r):
    rng = np.random.default_rng(r)
    for rounds, width, n in ((1, r, 3), (3, max(1, r - 2), 1), (4, r, 7)):
        x = rng.normal(size=(n, width + 3)).astype(np.float32)[:, 1 : 1 + width]
        signs = random_signs(rng, rounds, r)
        for inverse in (False, True):
            got = _native.hadamard(x, signs, inverse, 2, isa=isa)
            np.testing.assert_array_equal(got, reference.hadamard(x, signs, inverse=inverse))


@pytest.mark.parametrize("r", DIMS)
def test_a_rotation_is_orthogonal_and_its_inverse_undoes_it(r):
    rng = np.random.default_rng(r)
    signs = random_signs(rng, 4, r)
    matrix = rotation.hadamard(np.eye(r, dtype=np.float32), signs)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(r), atol=4e-6)
    x = rng.normal(size=(5, r)).astype(np.float32)
    np.testing.assert_allclose(rotation.hadamard(x, signs), x @ matrix, atol=2e-5)
    back = rotation.hadamard(rotation.hadamard(x, signs), signs, inverse=True)
    np.testing.assert_allclose(back, x, atol=5e-6)


@pytest.mark.parametrize("r", [384, 768, 1000, 1024])
def test_rounds_spread_a_single_coordinate_over_all(r):
    signs = random_signs(np.random.default_rng(0), 3 if r == 1024 else 6, r)
    matrix = rotation.hadamard(np.eye(r, dtype=np.float32), signs)
    # Of independent normal values the largest of r² is about 5.3 deviations, and the mean of r
    # fourth powers is 3 with a deviation of √(96 / r).
    assert np.abs(matrix).max() * np.sqrt(r) < 6.5
    assert np.abs((matrix**4).mean(axis=1) * r**2 - 3).max() < 5 * np.sqrt(96 / r)


@every_isa
@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("r", [4, 12, 16, 20, 64, 100, 384])
def test_codes_of_grids_equal_the_oracle(isa, bits, r):
    rng = np.random.default_rng(r + bits)
    whole = rng.normal(size=(23, r + 5)).astype(np.float32)
    whole[3] = 0
    whole[4] *= 1e-20
    whole[5] *= 1e15
    z = whole[:, 2 : 2 + r]
    codes, sums = _native.rabitq_encode(z, bits, 2, isa=isa)
    expected = reference.rabitq_encode(z, bits)
    np.testing.assert_array_equal(codes, expected[0])
    np.testing.assert_array_equal(sums[0], expected[1])
    np.testing.assert_array_equal(sums[1], expected[2])


def test_rabitq_points_are_nearest_in_direction():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(200, 128)).astype(np.float32)
    lengths = np.linalg.norm(z, axis=1)
    cosines = []
    for bits in (1, 2, 4, 8):
        _, along, length2 = rotation.rabitq_encode(z, bits)
        cosines.append(float((along / np.sqrt(length2) / lengths).mean()))
    # √(2/π) for signs; for grids of Gaussians the error of the best uniform quantizer.
    np.testing.assert_allclose(cosines, [0.798, 0.94, 0.994, 0.99997], atol=0.003)


def test_bad_input_is_refused_by_name():
    x, signs = np.zeros((2, 8), np.float32), np.ones((3, 8), np.float32)
    for message, call in {
        "x must be": lambda: rotation.hadamard(x.astype(np.float64), signs),
        "signs must be": lambda: rotation.hadamard(x, signs.astype(np.int8)),
        "cannot rotate": lambda: rotation.hadamard(x, signs[:, :7]),
        "of shape \\(0, 8\\) cannot": lambda: rotation.hadamard(x, signs[:0]),
        "4 coordinates": lambda: rotation.rabitq_encode(x[:, :6], 1),
        "1 to 8 bits": lambda: rotation.rabitq_encode(x, 9),
        "z must be": lambda: rotation.rabitq_encode(x[0], 1),
    }.items():
        with pytest.raises(InputError, match=message):
            call()
