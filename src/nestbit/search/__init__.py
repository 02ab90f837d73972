"""Search over codes: plans of scan and rescore stages."""

from nestbit.search.arrays import search
from nestbit.search.hits import Hits, Reads, StageReport
from nestbit.search.plan import Plan, Stage

__all__ = ["Hits", "Plan", "Reads", "Stage", "StageReport", "search"]
