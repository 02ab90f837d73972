"""Memory and cost of 250 million vectors, by dimensions and codec."""

from __future__ import annotations

import numpy as np

from _common import Dataset, nb, parts, plt, run, save
from nestbit.advise import Footprint, Prices

_FEW = 64
ROWS = 250_000_000
DIMS = (384, 768, 1024, 1536, 3072)
SPECS = ("float32", "float16", "int8", "nested(1)", "binary", "nested(0.5)")
# What is printed for 1,024 dimensions in float32, GB and dollars, to check the units by.
PUBLISHED = (953.67, 3623.0)


def study(_: list[Dataset]) -> None:
    prices = Prices()
    table, lines = [], {}
    for spec in SPECS:
        costs = []
        for dim in DIMS:
            footprint = Footprint(_bytes(spec, dim), 0)
            costs.append((footprint.gigabytes(ROWS), footprint.dollars(ROWS, prices)))
        lines[spec] = [gb for gb, _ in costs]
        table.append([spec, *(f"{gb:,.2f} GB, ${dollars:,.0f}" for gb, dollars in costs)])
    checked = Footprint(4 * 1024, 0)
    assert abs(checked.gigabytes(ROWS) - PUBLISHED[0]) < 0.01
    assert abs(checked.dollars(ROWS, prices) - PUBLISHED[1]) < 1.5
    figure, (axis,) = parts(1)
    for spec, line in lines.items():
        axis.plot(DIMS, line, marker="o", markersize=3, label=spec)
    axis.set_yscale("log")
    axis.set_xlabel("dimensions")
    axis.set_ylabel("GB for 250M vectors")
    axis.legend(frameon=False, fontsize=8)
    save(
        "memory",
        "Memory and cost of 250 million vectors",
        [
            "The claim: 250M vectors of 1,024 dimensions take 953.67 GB as float32 and cost $3,623 "
            "a month at $3.8 per GB; 32 times less as binary (Binary and Scalar Embedding "
            "Quantization, 2024).",
            "Here: GB there are 2^30 bytes, and the figures follow from rows × bytes exactly. Rows "
            "of the published table that do not equal dimensions × 4 × 250M / 2^30 are misprints. "
            "`nested` stores 2 bytes a row besides its cells. Codes alone: ids, an index, and a "
            "finer level for rescoring come on top, and rescoring from disk is what makes the "
            "factor of 32 real.",
        ],
        {"Memory and dollars per month": [["codes", *(f"{dim} dims" for dim in DIMS)], *table]},
        figure,
    )
    plt.close(figure)


def _bytes(spec: str, dim: int) -> int:
    """Bytes a row as a codec fitted for few dimensions reports them, for more of them."""
    rows = np.random.default_rng(0).standard_normal((300, _FEW)).astype(np.float32)
    factor = 2 if spec.startswith("nested") else 0
    return (nb.fit(rows, spec).n_bytes - factor) * dim // _FEW + factor


if __name__ == "__main__":
    run(study, __doc__)
