"""What compression keeps: float ground truth, recall, judged collections, and other tasks."""

from nestbit.evaluate.classification import knn_classification, linear_probe
from nestbit.evaluate.clustering import clustering
from nestbit.evaluate.collections import Collection, read_beir
from nestbit.evaluate.comparison import Comparison
from nestbit.evaluate.distances import (
    kendall_tau_score,
    normalized_difference_score,
    reorder_score,
)
from nestbit.evaluate.duplicates import Mined, near_duplicates
from nestbit.evaluate.exact import exact_search
from nestbit.evaluate.held_out import HeldOut, hold_out
from nestbit.evaluate.measures import known_item_ndcg, recall_at_k, recall_per_query
from nestbit.evaluate.mteb import read_mteb
from nestbit.evaluate.orders import kendall_tau, overlap_per_query, spearman_rho
from nestbit.evaluate.pairs import pair_classification, semantic_similarity
from nestbit.evaluate.runs import Evaluation, evaluate_run, make_run
from nestbit.evaluate.trec import read_trec_qrels

__all__ = [
    "Collection",
    "Comparison",
    "Evaluation",
    "HeldOut",
    "Mined",
    "clustering",
    "evaluate_run",
    "exact_search",
    "hold_out",
    "kendall_tau",
    "kendall_tau_score",
    "knn_classification",
    "known_item_ndcg",
    "linear_probe",
    "make_run",
    "near_duplicates",
    "normalized_difference_score",
    "overlap_per_query",
    "pair_classification",
    "read_beir",
    "read_mteb",
    "read_trec_qrels",
    "recall_at_k",
    "recall_per_query",
    "reorder_score",
    "semantic_similarity",
    "spearman_rho",
]
