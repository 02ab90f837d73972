"""Changes an index without end, and tells of each change when it was acknowledged.

A line of JSON for each: ``["put" | "delete", ids, value]``.
"""

import json
import sys

import numpy as np
from crash_child import embed

import nestbit as nb


def main(path, seed):
    rng = np.random.default_rng(seed)
    try:
        index = nb.create(path, "float32")
    except nb.errors.InputError:  # it exists already
        index = nb.open(path)
    value = 1000 * seed
    while True:
        value += 1
        ids = [f"i{i}" for i in rng.choice(200, rng.integers(1, 30), replace=False)]
        # Announced first: what is under way when the process dies may be there or not.
        act = "delete" if rng.random() < 0.3 else "put"
        print(json.dumps(["begin", act, ids, value]), flush=True)
        if act == "delete":
            index.delete(ids)
        else:
            n = len(ids)
            x = np.stack([embed(value)] * n)
            index.upsert(ids, x, [f"text {value}"] * n, [{"value": value}] * n)
        print(json.dumps(["done"]), flush=True)
        if rng.random() < 0.2:
            index.compact(wait=bool(rng.random() < 0.5))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
