"""What a compressed search keeps: float ground truth, recall, and judged collections."""

from nestbit.evaluate.collections import Collection, read_beir
from nestbit.evaluate.exact import exact_search
from nestbit.evaluate.measures import known_item_ndcg, recall_at_k, recall_per_query
from nestbit.evaluate.runs import Evaluation, evaluate_run, make_run

__all__ = [
    "Collection",
    "Evaluation",
    "evaluate_run",
    "exact_search",
    "known_item_ndcg",
    "make_run",
    "read_beir",
    "recall_at_k",
    "recall_per_query",
]
