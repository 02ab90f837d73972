"""Clustering, classification, pairs and duplicates: float against compressed."""

import numpy as np
import pytest

import nestbit as nb
from nestbit.errors import InputError
from nestbit.evaluate import (
    clustering,
    knn_classification,
    linear_probe,
    near_duplicates,
    pair_classification,
    semantic_similarity,
)
from nestbit.evaluate.comparison import compressed


@pytest.fixture(autouse=True)
def _needs_sklearn():
    pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def classes():
    """Four classes of 60 rows around their means, with noise as large as the distance."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 60)
    means = rng.standard_normal((4, 48))
    rows = means[labels] + 1.6 * rng.standard_normal((240, 48))
    order = rng.permutation(240)
    return rows[order].astype(np.float32), labels[order]


@pytest.fixture(scope="module")
def int8(classes):
    return nb.fit(classes[0], "int8")


@pytest.fixture(scope="module")
def coarse(classes):
    return nb.fit(classes[0], "truncate(4) | binary")


def test_int8_keeps_what_float_does_and_four_bits_lose_it(classes, int8, coarse):
    rows, labels = classes
    tasks = [
        lambda codec: clustering(rows, labels, codec),
        lambda codec: linear_probe(rows[:160], labels[:160], rows[160:], labels[160:], codec),
        lambda codec: knn_classification(rows[:160], labels[:160], rows[160:], labels[160:], codec),
    ]
    for task in tasks:
        fine, poor = task(int8), task(coarse)
        assert fine.floats == poor.floats > 0.6
        assert fine.compressed > 0.95 * fine.floats
        assert poor.compressed < 0.8 * fine.floats
        assert fine.retention == fine.compressed / fine.floats


def test_float32_codes_change_nothing(classes):
    rows, labels = classes
    codec = nb.fit(rows, "float32")
    for found in (
        clustering(rows, labels, codec),
        linear_probe(rows[:160], labels[:160], rows[160:], labels[160:], codec),
        knn_classification(rows[:160], labels[:160], rows[160:], labels[160:], codec),
        pair_classification(rows[:120], rows[120:], labels[:120] == labels[120:], codec),
        semantic_similarity(rows[:120], rows[120:], labels[:120] == labels[120:], codec),
    ):
        assert found.compressed == pytest.approx(found.floats, abs=1e-6)


def test_pair_classification_is_the_average_precision_of_the_cosines(classes, coarse):
    from sklearn.metrics import average_precision_score

    rows, labels = classes
    a, b, same = rows[:120], rows[120:], labels[:120] == labels[120:]
    coded = compressed(coarse, a), compressed(coarse, b)

    def cosines(x, y):
        return (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)

    found = pair_classification(a, b, same, coarse)
    assert found.floats == pytest.approx(average_precision_score(same, cosines(a, b)), abs=1e-3)
    expected = average_precision_score(same, cosines(*coded).round(6))
    assert found.compressed == pytest.approx(expected, abs=0.02)
    one = pair_classification(a, b, same, coarse, sides="one")
    assert one.floats == found.floats
    assert one.compressed != found.compressed


def test_similarity_is_spearman_with_the_grades(classes, int8):
    from scipy.stats import spearmanr

    rows, _ = classes
    a, b = rows[:100], rows[100:200]
    grades = np.random.default_rng(1).random(100)
    cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    found = semantic_similarity(a, b, grades, int8)
    assert found.floats == pytest.approx(spearmanr(cosines, grades).statistic, abs=1e-3)


def test_near_duplicates_are_the_pairs_above_the_threshold(classes, int8, coarse):
    rows, _ = classes
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = np.triu(unit @ unit.T, 1)
    found = near_duplicates(rows, int8, threshold=0.5)
    assert found.true_pairs == int((cosines >= 0.5).sum()) > 20
    assert found.precision > 0.9
    assert found.recall > 0.9
    poor = near_duplicates(rows, coarse, threshold=0.5)
    assert poor.true_pairs == found.true_pairs
    assert poor.f1 < 0.5 < found.f1


def test_an_exact_copy_is_found_at_threshold_one(classes):
    rows, _ = classes
    found = near_duplicates(np.concatenate([rows, rows[:3]]), nb.fit(rows, "int8"), threshold=1.0)
    assert found.true_pairs == found.common_pairs == 3


def test_no_pairs_have_no_precision(classes, int8):
    found = near_duplicates(classes[0][:5], int8, threshold=1.0)
    assert np.isnan([found.precision, found.recall, found.f1]).all()


def test_what_does_not_fit_is_refused(classes, int8):
    rows, labels = classes
    with pytest.raises(InputError, match="239 labels"):
        clustering(rows, labels[1:], int8)
    with pytest.raises(InputError, match="two classes"):
        clustering(rows, np.zeros(240), int8)
    with pytest.raises(InputError, match="two classes"):
        knn_classification(rows, np.zeros(240), rows, labels, int8)
    with pytest.raises(InputError, match="true pairs and false"):
        pair_classification(rows, rows, np.ones(240, np.bool_), int8)
    with pytest.raises(InputError, match="not all equal"):
        semantic_similarity(rows, rows, np.ones(240), int8)
    with pytest.raises(InputError, match="booleans"):
        pair_classification(rows, rows, np.full(240, 0.5), int8)
    with pytest.raises(InputError, match="both, one"):
        pair_classification(rows, rows, labels > 1, int8, sides="none")
    with pytest.raises(InputError, match="threshold"):
        near_duplicates(rows, int8, threshold=0)
