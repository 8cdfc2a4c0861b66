"""Checks of how students learn: diverged, never learned, not converged, capacity, splits that disagree, power."""

import math

import numpy as np
from scipy import special

from kdjax.report import power
from kdjax.report.doctor.case import FINE, FOUND, UNKNOWN, Case, Verdict
from kdjax.report.statistics import CONFIDENCE, lower_bound, summary
from kdjax.report.wording import counted, listed
from kdjax.runs import caution, identity
from kdjax.runs.task import TOP1

CLIMBING = 0.5
"""A row has not converged that gains so many percentage points over the last quarter of its epochs."""
LEVELS = 2.0
"""Validation and test disagree from so many percentage points on."""
ORDER = 0.5
"""They disagree on the order of rows below this rank correlation."""
LEAST_ROWS = 5
"""Below so many rows an order is not compared."""
UNFIT = 0.1
"""A student has not fitted what it trains on whose cross-entropy there is so large a share of ln K."""


def diverged(case: Case) -> Verdict:
    rows = {}
    for line in case.experiment.lines:
        if line["result"] and line["result"]["status"] == "diverged":
            rows[line["config"].get("row", "")] = rows.get(line["config"].get("row", ""), 0) + 1
    if not rows:
        return Verdict(FINE, "No run has diverged.")
    shown = listed(f"{row} ({counted(n, 'seed')})" for row, n in rows.items())
    advice = "Lower config.optimizer.learning_rate or the term's weight, or set config.optimizer.clip_norm."
    return Verdict(FOUND, f"Diverged: {shown}.", advice)


def learned(case: Case) -> Verdict:
    """Classifiers at chance; of other tasks, rows that end no better than they began, where that was evaluated."""
    found, seen, key, than = [], 0, case.task.primary.key, "no better than it began"
    for record in case.students:
        for line in case.lines(record):
            result, seed = line["result"], line["result"]["seed"]
            curve = _curve(case, line, "test")
            if key == TOP1.key:
                most, than = caution.learned_nothing(len(result["classes"]))
                stuck = result["last"][key] <= most
            elif len(curve) > 1 and curve[0][0] <= max(1, curve[-1][0] / 4):
                stuck = curve[-1][1] <= curve[0][1]
            else:
                continue
            seen += 1
            found += [f"{record['row']} seed {seed} ({case.shown(result['last'][key])})"] if stuck else []
    if not seen:
        return Verdict(
            UNKNOWN, "No run was evaluated in the first quarter of its epochs: set config.eval_every_epochs."
        )
    if not found:
        return Verdict(FINE, f"No run ends {than}.")
    advice = "Look at the learning rate, at the term's weight and at the labels that it sees."
    return Verdict(FOUND, f"Ended {than}: {listed(found)}.", advice)


# ---- the last epochs


def _curve(case: Case, line: dict, split: str) -> list[tuple[int, float]]:
    """[(epoch, score, signed so that more is better)] of a run's evaluated epochs."""
    key = f"{split}_{case.task.primary.key}"
    return [(row["epoch"], case.task.sign * row[key]) for row in line["history"] if row.get(key) is not None]


def gained(curve: list[tuple[int, float]]) -> tuple[float, int] | None:
    """(what a least-squares line gains over the last quarter of a curve's points, epochs that is over).

    At least two points; None for a curve of fewer.
    """
    last = np.array(curve[-max(2, math.ceil(len(curve) / 4)) :], np.float64)
    if len(last) < 2:
        return None
    epochs, scores = last.T
    centred = epochs - epochs.mean()
    slope = float(centred @ scores / (centred @ centred))
    return slope * float(epochs[-1] - epochs[0]), int(epochs[-1] - epochs[0])


def converged(case: Case) -> Verdict:
    """Rows whose score still rises: by CLIMBING points, and by more than nothing beyond the chance of seeds."""
    percent, found, seen, over = case.task.primary.unit == "%", [], [], 0
    for record in case.students:
        lines = case.lines(record)
        split = "validation" if all(_curve(case, line, "validation") for line in lines) else "test"
        gains = [gain for line in lines if (gain := gained(_curve(case, line, split)))]
        if not gains:
            continue
        values = [gain for gain, _ in gains]
        told = summary(values)
        mean, least, over = told["mean"], lower_bound(told["mean"], told["std"], told["n"]), gains[0][1]
        seen.append(mean)
        worth = CLIMBING / 100 if percent else (record[f"{case.task.primary.key}_std"] or 0.0)
        if mean >= worth and (least is None or least > 0):
            found.append((mean, f"{record['row']} {case.task.primary.signed(mean)}"))
    if not seen:
        return Verdict(UNKNOWN, "No run was evaluated after two epochs or more.")
    where = f"over the last {counted(over, 'epoch')}, by a line through the last quarter of the evaluations"
    if found:
        shown = listed(text for _, text in sorted(found, reverse=True))
        unit = case.task.primary.difference_unit
        advice = f"Train longer: config.epochs above {case.config.get('epochs', '?')}, under another config.experiment."
        return Verdict(FOUND, f"Still rising {where}{f', in{unit}' * bool(unit)}: {shown}.", advice)
    return Verdict(FINE, f"No row rises by more than {case.apart(max(seen))} {where}.")


# ---- capacity


def capacity(case: Case) -> Verdict:
    """Whether the baseline fits what it trains on, by its cross-entropy there and on the test split."""
    baseline = case.baseline
    if case.task.name != "classification" or baseline is None:
        return Verdict(UNKNOWN, "It is told of classifiers with a baseline alone.")
    lines = case.lines(baseline)
    train = [line["history"][-1].get("loss/cross_entropy") if line["history"] else None for line in lines]
    test = [line["result"]["last"].get("nll") for line in lines]
    if None in (*train, *test):
        return Verdict(UNKNOWN, "The cross-entropy of training or test was not recorded.")
    fit, held, largest = float(np.mean(train)), float(np.mean(test)), math.log(len(lines[0]["result"]["classes"]))
    said = (
        f"{baseline['row']} ends at a cross-entropy of {fit:.3g} nats in training (the right class gets "
        f"{100 * math.exp(-fit):.0f} %, augmentation included) and {held:.3g} on the test split"
    )
    if fit >= UNFIT * largest and held <= 1.25 * fit:
        advice = (
            "It has not fitted what it sees, and generalises what it has: that is lack of capacity or of epochs, which "
            "no teacher mends; widen the student, train longer, or augment less."
        )
        return Verdict(FOUND, f"{said}, of {largest:.3g} for a guess.", advice)
    return Verdict(FINE, f"{said}.")


# ---- the splits


def splits(case: Case) -> Verdict:
    """Whether validation and test agree in level and on the order of rows."""
    rows, differences = {}, []
    for record in case.students:
        ends = [[_curve(case, line, split) for split in ("validation", "test")] for line in case.lines(record)]
        pairs = [(v[-1][1], t[-1][1]) for v, t in ends if v and t and v[-1][0] == t[-1][0]]
        if pairs:
            rows[record["row"]] = tuple(np.mean(pairs, axis=0))
            differences += [v - t for v, t in pairs]
    if not rows:
        return Verdict(UNKNOWN, "There is no validation split.")
    level = case.task.sign * float(np.mean(differences))
    said = f"Validation is {case.task.primary.signed(level)}{case.task.primary.difference_unit} from test"
    best = [max(rows, key=lambda row, i=i: rows[row][i]) for i in (0, 1)]
    order = correlation(np.array(list(rows.values()))) if len(rows) >= LEAST_ROWS else None
    if order is not None:
        said += f", the rank correlation of {counted(len(rows), 'row')} is {order:.2f}"
        same = best[0] == best[1]
        said += f" (both have {best[0]} first)" if same else f" ({best[0]} is first on validation, {best[1]} on test)"
    if case.task.primary.unit == "%" and abs(level) >= max(LEVELS / 100, _chance(case, rows)):
        advice = "Are the splits of one distribution? A choice made on validation may not hold on test."
        return Verdict(FOUND, f"{said}.", advice)
    if order is not None and order < ORDER:
        advice = "Rows this close cannot be chosen on it: hold out more (config.data.validation) or take more seeds."
        return Verdict(FOUND, f"{said}.", advice)
    return Verdict(FINE, f"{said}.")


def _chance(case: Case, rows: dict) -> float:
    """By how much two shares differ in one of twenty draws of both splits' examples; 0 where these were not counted.

    All rows and seeds are evaluated on the same examples: their number makes it no smaller.
    """
    known = (identity.stored(line["config"]).get("data") for line in case.experiment.lines)
    counts = {each["split"]: each["examples"] for each in next(filter(None, known), {}).get("splits", ())}
    shares = np.mean(list(rows.values()), axis=0)
    if not {"validation", "test"} <= counts.keys():
        return 0.0
    variance = shares * (1 - shares) / [counts["validation"], counts["test"]]
    return float(special.ndtri((1 + CONFIDENCE) / 2) * np.sqrt(variance.sum()))


def correlation(values: np.ndarray) -> float | None:
    """Spearman's, of the two columns of [rows, 2]; None where one of them is constant."""
    ranks = [np.unique(column, return_inverse=True, return_counts=True) for column in values.T]
    middles = [(np.cumsum(count) - (count - 1) / 2)[place] for _, place, count in ranks]
    if any(np.ptp(each) == 0 for each in middles):
        return None
    return float(np.corrcoef(*middles)[0, 1])


# ---- power


def seen(case: Case) -> Verdict:
    """What a difference must be to be seen, and what was significant after Holm's method."""
    spread = case.experiment.spread
    if spread is None:
        return Verdict(UNKNOWN, "Fewer than two seeds are paired: nothing can be seen.")
    least = power.detectable(spread.n, spread.std)
    tested = [row for row in case.students if row["p_holm"] is not None]
    better = [row["row"] for row in tested if row["p_holm"] < 1 - CONFIDENCE and case.task.sign * row["difference"] > 0]
    said = f"With {counted(spread.n, 'seed')} a difference of {case.apart(least)} is seen with 80 % power"
    if better:
        return Verdict(FINE, f"{said}; better than the baseline after Holm's correction: {listed(better)}.")
    largest = max(tested, key=lambda row: case.task.sign * row["difference"])
    said += f"; the largest gain, {largest['row']}'s, is {case.task.primary.signed(largest['difference'])}"
    wanted = case.task.sign * largest["difference"]
    few = "No row is above the baseline."
    if wanted > 0:
        few = f"By its own spread {power.seeds(wanted, largest['difference_std']):,} seeds would see it, uncorrected."
    return Verdict(FOUND, f"{said}, and no row is better after Holm's correction.", f"{few} kdjax plan says more.")


CHECKS = {
    "Diverged": diverged,
    "Never learned": learned,
    "Not converged": converged,
    "Capacity": capacity,
    "Validation and test disagree": splits,
    "Too few seeds to see it": seen,
}
