"""What the tests of the index share."""

import numpy as np

SPEC = "nested(1) + int8"


def metadata(i):
    return {"year": 2000 + i % 25, "lang": ["en", "de", "fr"][i % 3], "tags": [f"t{i % 7}"]}


def recall(found, expected):
    pairs = zip(found.tolist(), expected.tolist(), strict=True)
    return np.mean([len(set(a) & set(b)) / len(b) for a, b in pairs])
