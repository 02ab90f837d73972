"""What a measure gives on float embeddings and on the same rows after compression."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from numpy.typing import ArrayLike

from nestbit._arrays import Floats, as_embeddings
from nestbit.codecs import Codec
from nestbit.errors import InputError


@dataclass(frozen=True)
class Comparison:
    """One measure, larger is better, on the float rows and on their compressed form."""

    measure: str
    floats: float
    compressed: float

    @property
    def retention(self) -> float:
        """Compressed divided by float; NaN where float itself scores zero."""
        return self.compressed / self.floats if self.floats else float("nan")


def compressed(codec: Codec, embeddings: Floats, *, level: int = -1) -> Floats:
    """The rows (n, dim) as the codes hold them: encoded, and decoded from one level.

    A float query's score against codes is its inner product with these rows, so what is measured
    on them is what a search of the codes has to work with. For cosine they estimate unit rows.
    """
    return codec.decode(codec.encode(embeddings), level=level)


def labelled(
    embeddings: ArrayLike, labels: Iterable[object], name: str = "embeddings"
) -> tuple[Floats, list[str]]:
    """Checked rows and one label for each, as strings; raises `InputError` where they differ."""
    rows = as_embeddings(embeddings, name=name)
    named = [str(label) for label in labels]
    if len(named) != len(rows):
        raise InputError(f"{name} have {len(rows)} rows, but {len(named)} labels are given")
    return rows, named
