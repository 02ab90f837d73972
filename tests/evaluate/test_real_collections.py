"""The evaluation on real embeddings reproduces published figures."""

import numpy as np
import pytest

from nestbit.evaluate import evaluate_run, exact_search, make_run, read_beir


@pytest.mark.parametrize(
    ("name", "documents", "queries"), [("scifact", 5183, 300), ("nfcorpus", 3633, 323)]
)
def test_a_beir_collection_has_its_published_size(data_dir, name, documents, queries):
    collection = read_beir(data_dir / "collections" / name)
    assert (len(collection.doc_ids), len(collection.query_ids)) == (documents, queries)
    assert len(collection.qrels) == queries


@pytest.mark.parametrize(("name", "published"), [("scifact", 0.645), ("nfcorpus", 0.316)])
def test_minilm_reaches_its_published_ndcg(data_dir, name, published):
    pytest.importorskip("ir_measures")
    collection = read_beir(data_dir / "collections" / name)
    folder = data_dir / "embeddings" / "minilm"
    corpus, queries = (np.load(folder / f"{name}_{part}.npy") for part in ("corpus", "queries"))
    doc_ids, query_ids = (
        (folder / f"{name}_{part}.ids.txt").read_text().split() for part in ("corpus", "queries")
    )
    hits = exact_search(corpus, queries, 100)
    means = evaluate_run(
        collection.qrels, make_run(query_ids, doc_ids, hits.ids, hits.scores)
    ).means
    assert means["nDCG@10"] == pytest.approx(published, abs=0.001)
