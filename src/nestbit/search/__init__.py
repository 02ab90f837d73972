"""Search over codes: plans of scan and rescore stages."""

from nestbit.search.arrays import search
from nestbit.search.hits import Hits, StageReport
from nestbit.search.plan import Plan, Stage

__all__ = ["Hits", "Plan", "Stage", "StageReport", "search"]
