"""Rows for tests that need no real collection."""

import numpy as np
from numpy.typing import NDArray


def text_like(n: int, dim: int, seed: int = 0, decay: float = 0.4) -> NDArray[np.float32]:
    """Unit rows with a falling spectrum and an offset mean, as text encoders give."""
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(np.random.default_rng(dim).standard_normal((dim, dim)))[0]
    spread = np.arange(1, dim + 1) ** -decay
    x = (rng.standard_normal((n, dim)) * spread) @ basis + 0.3 * spread[0] * basis[0]
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
