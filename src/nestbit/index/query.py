"""One search of an index: its options, and the hits that a snapshot answers it with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nestbit._arrays import Floats, check_dim
from nestbit.index import lookup
from nestbit.index.catalog import Catalog
from nestbit.index.numbering import Rows
from nestbit.index.partitions import Probing
from nestbit.index.records import id_array
from nestbit.index.scan import search_segments
from nestbit.index.snapshot import Snapshot
from nestbit.kernels.floats import top_k
from nestbit.search import Hits, Plan, StageReport


@dataclass(slots=True)
class Query:
    """What is asked of `Index.search`: the best ``k`` rows for each of ``queries`` (m, dim)."""

    queries: Floats
    k: int
    where: Mapping[str, Any] | None
    plan: Plan | None
    probing: Probing
    documents: bool
    threads: int | None
    explain: bool

    def answer(self, catalog: Catalog, snapshot: Snapshot) -> Hits:
        """The hits; raises `StaleSnapshotError` where the catalog has moved on."""
        if snapshot.state.dim is not None:
            check_dim(self.queries, snapshot.state.dim, name="queries")
        if self.plan is not None and snapshot.codec is not None:
            self.plan.check(snapshot.codec)
        parts = lookup.passing(catalog, snapshot, self.where)
        reports: list[StageReport] | None = [] if self.explain else None
        places, scores = search_segments(
            snapshot, self.queries, self.k, parts, self.plan, self.threads, self.probing, reports
        )
        stages = tuple(reports or ())
        # Equal scores stand in the order of their rows, wherever compaction has put these.
        if not self.documents and len(snapshot.segments) == 1:
            named = snapshot.segments[0].best_named(places, scores, self.k)
            if named is not None:
                return Hits(*named, stages)
        rows, scores = top_k(snapshot.row_numbers(places), scores, self.k)
        return self._named(rows, scores, stages, catalog, snapshot)

    def _named(
        self,
        rows: Rows,
        scores: Floats,
        stages: tuple[StageReport, ...],
        catalog: Catalog,
        snapshot: Snapshot,
    ) -> Hits:
        """Hits of row numbers and scores (m, k), with the rows' ids, documents and metadata."""
        if not self.documents:
            ids = lookup.ids_of(catalog, snapshot, rows.ravel())
            return Hits(ids.reshape(rows.shape), scores, stages)
        kind = snapshot.state.id_kind
        unique, inverse = np.unique(rows, return_inverse=True)
        inverse = inverse.reshape(rows.shape)
        records = lookup.records_of(catalog, snapshot, unique)
        ids, texts, fields = (
            id_array([getattr(record, name) for record in records], kind_)
            for name, kind_ in (("id", kind), ("document", "str"), ("metadata", "str"))
        )
        return Hits(
            ids[inverse],
            scores,
            stages,
            documents=texts[inverse],
            metadata=fields[inverse],
        )
