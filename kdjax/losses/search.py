"""Losses on a search among all documents of a batch: each query against those of its own list and of all others.

Sizes: B queries, L documents of a list, D embedding width. Outputs are those of two towers, as `bi_encoder` has them:
`embedding` [B, D] of the queries, the last of `features` [B, L, D] of their documents, `mask` [B, L] true where there
is one. Grades [B, L] are 0 or more, and below 0 (-1) at padding, of which any amount changes nothing. A document that
stands in the lists of two queries of a batch is a negative of each but where it was judged.
"""

import jax
import jax.numpy as jnp

from kdjax.losses.common import dot, labelled_mean
from kdjax.losses.lists import FAR


def in_batch_documents(student, teacher, grades, *, temperature=0.05):
    """-log softmax of a relevant document among all irrelevant ones of the batch, mean over relevant documents.

    In-batch negatives: Henderson et al. 2017, arXiv:1705.00652 (multiple negatives ranking), and Karpukhin et al. 2020,
    arXiv:2004.04906; other relevant documents of a query, with a grade above 0, do not count against one. Needs no
    teacher. Scores are products of embeddings over the temperature.
    """
    s, valid = _scores("in_batch_documents", "student", student, grades)
    s, relevant = s / temperature, _own(grades > 0)
    against = jax.nn.logsumexp(jnp.where(valid & ~relevant, s, FAR), axis=1, keepdims=True)
    return labelled_mean(jnp.logaddexp(s, against) - s, relevant)


def in_batch_documents_kl(student, teacher, grades, *, temperature=0.05):
    """KL(teacher's || student's) of the softmax over all documents of the batch, mean over queries.

    What `list_kl` is for a list and `in_batch_kl` for examples: the teacher says which of the others' documents are
    nearly right. Both towers' scores are products of embeddings over the temperature; widths may differ.
    """
    log_s, log_t = (
        _log_softmax(*_scores("in_batch_documents_kl", who, outputs, grades), temperature)
        for who, outputs in (("student", student), ("teacher", teacher))
    )
    return jnp.mean(jnp.sum(jnp.exp(log_t) * (log_t - log_s), axis=1))


def _scores(loss: str, who: str, outputs, grades):
    """(products [B, B L] of every query with every document, [1, B L] true where there is a document)."""
    if outputs is None:
        raise ValueError(f"{loss}: this loss needs a teacher")
    q, d = outputs.embedding, outputs.features[-1] if outputs.features else None
    if q is None or d is None or q.ndim != 2 or d.shape != (*grades.shape, q.shape[1]):
        shapes = [None if x is None else x.shape for x in (q, d)]
        raise ValueError(
            f"{loss}: the {who} has embeddings {shapes[0]} of queries and {shapes[1]} of documents; it is for networks "
            "with two towers, as bi_encoder, and grades [B, L]"
        )
    return dot("id,jd->ij", q, d.reshape(-1, d.shape[-1])), (grades >= 0).reshape(1, -1)


def _own(relevant):
    """[B, L] -> [B, B L], true where a document is relevant and of the query's own list."""
    queries, length = relevant.shape
    own = jnp.arange(queries)[:, None] == (jnp.arange(queries * length) // length)[None]
    return own & relevant.reshape(1, -1)


def _log_softmax(scores, valid, temperature: float):
    """[B, M], of padding 0 minus something so large that it has no probability."""
    return jax.nn.log_softmax(jnp.where(valid, scores / temperature, FAR), axis=1)
