"""The catalogue of losses: plain functions `loss(student, teacher, labels, *, hyperparameters) -> scalar`.

Student and teacher are Outputs; where these have a `mask`, padding counts in no loss. Losses that do not look at labels
use unlabelled examples (label -1) as any other, those that do take the mean over the labelled ones. Each can be called
bare, `kd(Outputs(s), Outputs(t), labels)`; one with layers or memory through `kdjax.losses.lift.lift(loss)`.
"""

from kdjax.losses.boundary import activation_boundary, overhaul
from kdjax.losses.channels import ickd, mgd
from kdjax.losses.contrast import crd
from kdjax.losses.experts import de, ftd, htd
from kdjax.losses.factor import factor_transfer, paraphraser
from kdjax.losses.feature import attention, fitnet, fsp, nst, simkd, srrl, vid
from kdjax.losses.hard import cross_entropy, hard_target, squared_error
from kdjax.losses.items import bpr, item_softmax, sampled_softmax, sequence_softmax
from kdjax.losses.lists import approx_ndcg, lambdarank, list_kl, listnet, margin_mse, rankdistil, ranknet, score_mse
from kdjax.losses.peers import mutual, self_distillation, virtual_teacher
from kdjax.losses.recommended import cd, rd, rrd, unkd
from kdjax.losses.regions import cat_kd, sdd
from kdjax.losses.relation import correlation, in_batch, in_batch_kl, itrd, pkt, rkd, similarity
from kdjax.losses.review import reviewkd
from kdjax.losses.search import in_batch_documents, in_batch_documents_kl
from kdjax.losses.soft import (
    binary_kd,
    ctkd,
    dist,
    dkd,
    kd,
    kd_standardized,
    logit_mse,
    mlkd,
    nkd,
    rld,
    ttm,
    wsld,
    wttm,
)
from kdjax.losses.soft import standardize as standardize
from kdjax.losses.svd import kdsvd
from kdjax.losses.tokens import attention_kl, attention_mse, distilbert, minilm, minilm2, pkd, tinybert
from kdjax.losses.views import mlkd_views, second_cross_entropy

FAMILIES = {
    "hard": (cross_entropy, hard_target),
    "soft": (kd, binary_kd, logit_mse, dkd, nkd, dist, wsld, kd_standardized, mlkd, ctkd, ttm, wttm, rld),
    "feature": (
        *(fitnet, attention, nst, vid, fsp, kdsvd, paraphraser, factor_transfer, activation_boundary, overhaul),
        *(reviewkd, srrl, simkd, cat_kd, sdd, ickd, mgd),
    ),
    "relation": (rkd, similarity, correlation, pkt, crd, itrd, in_batch, in_batch_kl),
    "text": (tinybert, pkd, distilbert, minilm, minilm2, attention_mse, attention_kl),
    "two views": (mlkd_views, second_cross_entropy),
    "without a teacher": (mutual, self_distillation, virtual_teacher),
    "regression": (squared_error,),
    "ranking": (listnet, ranknet, lambdarank, approx_ndcg, score_mse, margin_mse, list_kl, rankdistil),
    "search": (in_batch_documents, in_batch_documents_kl),
    "recommendation": (bpr, item_softmax, sampled_softmax, sequence_softmax, rd, rrd, cd, unkd, de, ftd, htd),
}
"""What a loss looks at -> losses, in the order in which `kdjax list losses` shows them."""

NEEDS = (
    dict.fromkeys((*FAMILIES["hard"], *FAMILIES["soft"], *FAMILIES["two views"]), ("logits",))
    | dict.fromkeys(FAMILIES["feature"], ("features",))
    | dict.fromkeys(FAMILIES["relation"], ("embedding",))
    | dict.fromkeys((*FAMILIES["regression"], *FAMILIES["ranking"], *FAMILIES["recommendation"]), ("logits",))
    | dict.fromkeys((sampled_softmax, de, ftd, htd), ("embedding",))
    | dict.fromkeys(FAMILIES["search"], ("embedding", "features"))
    | {
        sequence_softmax: ("features",),
        activation_boundary: ("preacts",),
        overhaul: ("preacts",),
        reviewkd: ("features", "preacts", "embedding"),
        srrl: ("logits", "embedding"),
        simkd: ("features", "preacts"),
        similarity: ("features",),
        mutual: ("logits", "peers"),
        self_distillation: ("logits", "features"),
        virtual_teacher: ("logits",),
        tinybert: ("features", "attentions"),
        pkd: ("features",),
        distilbert: ("features",),
        minilm: ("qkv",),
        minilm2: ("qkv",),
        attention_mse: ("attentions",),
        attention_kl: ("attentions",),
    }
)
"""Loss -> the fields of Outputs that it looks at."""

CLASSIFIED = (cat_kd, sdd)
"""Losses on what the classifier makes of positions of the last map, of whose mean it has to be the classifier."""
