"""Checks of what teaches: the teacher against its students, how soft its targets are, how the terms pull."""

import math
import statistics as middle

import numpy as np

from kdjax.report import power
from kdjax.report.doctor.case import FINE, FOUND, UNKNOWN, Case, Verdict
from kdjax.report.wording import counted, listed
from kdjax.runs.caution import APART

HARD = 0.02
"""Targets of so small a share of the largest entropy, ln K, are as good as labels."""
AGAINST = -0.1
"""A term whose gradient has this cosine with cross-entropy's, or less, undoes some of it."""


def ahead(case: Case) -> Verdict:
    """Whether the teacher knows more than the student alone, by more than this experiment could see."""
    teacher, baseline = case.teacher, case.baseline
    if teacher is None or baseline is None:
        return Verdict(UNKNOWN, "There is no score of a teacher or none of the baseline.")
    t, b = case.value(teacher), case.value(baseline)
    gap, name = case.task.sign * (t - b), baseline["row"]
    scores = f"{case.shown(t)} against {case.shown(b)}"
    spread = case.experiment.spread
    seen = power.detectable(spread.n, spread.std) if spread else None
    if gap <= 0:
        advice = "Train the teacher longer (config.teacher.epochs), take a larger one or an ensemble of several."
        return Verdict(FOUND, f"The teacher is no better than {name}: {scores}.", advice)
    said = f"The teacher is {case.apart(gap)} ahead of {name}: {scores}"
    if seen and gap < seen:
        n = counted(spread.n, "seed")
        said += f"; with {n} no difference below {case.apart(seen)} is seen, so not even all of that would be."
        return Verdict(FOUND, said, "Take more seeds (kdjax plan), a better teacher or a smaller student.")
    return Verdict(FINE, f"{said}.")


def beaten(case: Case) -> Verdict:
    """Rows that are better than what teaches them."""
    if case.teacher is None:
        return Verdict(UNKNOWN, "There is no score of a teacher.")
    t = case.value(case.teacher)
    rows = [row for row in case.taught() if case.task.sign * (case.value(row) - t) > 0]
    if not rows:
        return Verdict(FINE, f"No student is better than its teacher ({case.shown(t)}).")
    shown = listed(f"{row['row']} ({case.shown(case.value(row))})" for row in rows)
    advice = "Such a teacher passes on its own errors: train it longer, or take another."
    return Verdict(FOUND, f"The teacher, at {case.shown(t)}, is weaker than {shown}.", advice)


def larger(case: Case) -> Verdict:
    """Rows with more parameters than the teacher."""
    size = (case.teacher or {}).get("parameters")
    known = [row for row in case.taught() if row["parameters"] is not None]
    if size is None or not known:
        return Verdict(UNKNOWN, "The numbers of parameters were not measured.")
    rows = [row for row in known if row["parameters"] > size]
    if rows:
        shown = listed(f"{row['row']} ({row['parameters']:,})" for row in rows)
        advice = "What is larger learns as much alone: take a smaller student (config.student.model, kwargs)."
        return Verdict(FOUND, f"Larger than the teacher, which has {counted(size, 'parameter')}: {shown}.", advice)
    most = max(row["parameters"] for row in known)
    return Verdict(FINE, f"No student has more than {most:,} parameters, the teacher has {size:,}.")


# ---- how soft the targets are


def temperatures(spec) -> list[float]:
    """All values of "temperature" and "temperatures" in a row's terms."""
    found = []
    for key, value in spec.items() if isinstance(spec, dict) else ():
        if key in ("temperature", "temperatures"):
            found += [float(t) for t in (value if isinstance(value, list) else [value]) if isinstance(t, int | float)]
        else:
            found += temperatures(value)
    return found


def entropy(logits: np.ndarray, temperature: float) -> float:
    """The mean over examples of the entropy of softmax(logits / T), logits [N, K], as a share of ln K, the largest."""
    scaled = np.asarray(logits, np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    exponentials = np.exp(scaled)
    total = exponentials.sum(axis=1, keepdims=True)
    own = np.log(total[:, 0]) - (exponentials * scaled).sum(axis=1) / total[:, 0]
    return float(own.mean() / math.log(logits.shape[1]))


def soft(case: Case) -> Verdict:
    """Whether softened targets say more than labels."""
    rows = {}
    for row, spec in case.specs():
        for temperature in temperatures(spec):
            rows.setdefault(temperature, []).append(row)
    if not rows:
        return Verdict(FINE, "No row has a term with a temperature.")
    if not (case.task.name == "classification" and case.teacher):
        return Verdict(UNKNOWN, "There are no classes, or there is no teacher.")
    if case.soft is None:
        return Verdict(UNKNOWN, f"How soft its targets are: its predictions were not kept{_sure(case)}.")
    shares = {t: entropy(case.soft, t) for t in sorted(rows)}
    k = case.soft.shape[1]
    told = listed(f"{100 * share:.1f} % at T = {t:g}" for t, share in shares.items())
    said = f"The entropy of the teacher's targets, on the test split, of the largest ({k} classes): {told}"
    hard = [t for t, share in shares.items() if share < HARD]
    if not hard:
        return Verdict(FINE, f"{said}.")
    who = listed(dict.fromkeys(row for t in hard for row in rows[t]))
    advice = "Try a higher temperature, a loss on logits (logit_mse), or a teacher trained for fewer epochs."
    return Verdict(FOUND, f"{said}; below {100 * HARD:g} % they say as little as labels: {who}.", advice)


def _sure(case: Case) -> str:
    """What is known at T = 1 in place of that: how sure the teacher is of its training examples."""
    own = [line for line in case.experiment.lines if line["config"].get("method") == "teacher" and line["history"]]
    loss = own[0]["history"][-1].get("loss/cross_entropy") if own else None
    if loss is None:
        return ""
    return (
        f"; at T = 1 it gives the right class of its training examples {100 * math.exp(-loss):.1f} % "
        f"(cross-entropy {loss:.3g} nats)"
    )


# ---- how the terms pull


def _measured(case: Case, key: str) -> dict[str, float]:
    """ "row" or "row (term)" -> the median over seeds of what was measured of a term against cross-entropy."""
    found = {}
    for record in case.students:
        terms = {}
        for line in case.lines(record):
            for term, value in (line["result"].get(key) or {}).items():
                terms.setdefault(term, []).append(value)
        for term, values in terms.items():
            name = record["row"] if term == record["row"] else f"{record['row']} ({term})"
            found[name] = middle.median(values)
    return found


def sizes(case: Case) -> Verdict:
    """Terms whose gradient is far larger or smaller than cross-entropy's at the first step, weights included."""
    ratios = _measured(case, "gradients")
    if not ratios:
        return Verdict(UNKNOWN, "The gradients of terms were not measured in these runs.")
    far = {name: ratio for name, ratio in ratios.items() if not 1 / APART < ratio < APART}
    if not far:
        low, high = min(ratios.values()), max(ratios.values())
        return Verdict(FINE, f"At the first step those of terms are {low:.3g} to {high:.3g} times cross-entropy's.")
    shown = listed(f"{name} {ratio:.3g} times" for name, ratio in far.items())
    advice = (
        "Far above 1 the labels are ignored, far below 1 the term is: change its weight by about that factor "
        '(config.ablate["row.term.weight"]).'
    )
    return Verdict(FOUND, f"At the first step, of cross-entropy's, weights included: {shown}.", advice)


def directions(case: Case) -> Verdict:
    """Terms whose gradient points against cross-entropy's at the first step."""
    cosines = _measured(case, "cosines")
    if not cosines:
        return Verdict(UNKNOWN, "The cosines of terms' gradients with cross-entropy's were not measured in these runs.")
    against = {name: cosine for name, cosine in cosines.items() if cosine <= AGAINST}
    if not against:
        low, high = min(cosines.values()), max(cosines.values())
        return Verdict(FINE, f"At the first step their cosines with cross-entropy's are {low:.2f} to {high:.2f}.")
    shown = listed(f"{name} {cosine:.2f}" for name, cosine in against.items())
    advice = "It undoes some of what labels teach: lower its weight, or begin it later (warmup_epochs)."
    return Verdict(FOUND, f"At the first step, cosine with cross-entropy's gradient: {shown}.", advice)


CHECKS = {
    "Teacher no better than the student": ahead,
    "Teacher weaker than what it teaches": beaten,
    "Student larger than the teacher": larger,
    "Softened targets that say nothing": soft,
    "Gradients of very different size": sizes,
    "Gradients that pull apart": directions,
}
