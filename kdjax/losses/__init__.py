"""The catalogue of losses: plain functions `loss(student, teacher, labels, *, hyperparameters) -> scalar`.

Student and teacher are Outputs. Losses that do not look at labels use unlabelled examples (label -1) as any other,
those that do take the mean over the labelled ones. Each can be called bare, `kd(Outputs(s), Outputs(t), labels)`;
one with layers or memory through `kdjax.objective.lift(loss)`.
"""

from kdjax.losses.feature import attention, fitnet, fsp, nst
from kdjax.losses.hard import cross_entropy, hard_target
from kdjax.losses.relation import correlation, pkt, rkd, similarity
from kdjax.losses.soft import binary_kd, dist, dkd, kd, kd_standardized, logit_mse, nkd, wsld
from kdjax.losses.soft import standardize as standardize

FAMILIES = {
    "hard": (cross_entropy, hard_target),
    "soft": (kd, binary_kd, logit_mse, dkd, nkd, dist, wsld, kd_standardized),
    "feature": (fitnet, attention, nst, fsp),
    "relation": (rkd, similarity, correlation, pkt),
}
"""What a loss looks at -> losses, in the order in which `kdjax list losses` shows them."""
