"""An index of a few thousand rows, and the truth about them."""

import numpy as np
import pytest
from index_cases import SPEC, metadata

import nestbit as nb


@pytest.fixture
def index(tmp_path, rows):
    """2,000 rows with integer ids from 1000 on, documents and metadata."""
    with nb.create(tmp_path / "x.nest", SPEC, fields=["year"], fit_rows=1000) as index:
        index.add(
            np.arange(1000, 3000),
            rows,
            documents=[f"text {i}" for i in range(2000)],
            metadata=[metadata(i) for i in range(2000)],
        )
        yield index


@pytest.fixture(scope="session")
def truth(rows, queries):
    """Row numbers of the best 10 of the given rows (all by default) for each query."""

    def best(keep=None, k=10):
        scores = queries @ rows.T
        if keep is not None:
            scores[:, ~keep] = -2
        return np.argsort(-scores, axis=1)[:, :k]

    return best
