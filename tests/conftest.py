"""Fixtures: synthetic rows, and the folder of real collections if one is given."""

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from synthetic import text_like


@pytest.fixture(scope="session")
def rows() -> NDArray[np.float32]:
    return text_like(2000, 96)


@pytest.fixture(scope="session")
def queries() -> NDArray[np.float32]:
    return text_like(20, 96, seed=1)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder of real collections and embeddings, named by NESTBIT_DATA."""
    folder = os.environ.get("NESTBIT_DATA")
    if not folder:
        pytest.skip("set NESTBIT_DATA to the folder of real collections to run this test")
    return Path(folder)
