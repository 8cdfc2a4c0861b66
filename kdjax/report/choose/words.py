"""What is said of a choice: the verdict, the command that exports it, the table and what stands under it."""

from kdjax import tables
from kdjax.report.choose.case import COSTS, Candidate, Choice, fits, known
from kdjax.report.wording import DASH, MINUS, clean, counted, listed

SAME = 1.01
"""Files that differ by no more than this factor are of one size: of these the one that surely keeps most is chosen."""


def command(candidate: Candidate) -> str:
    """What exports it."""
    run = f"{candidate.source}/{candidate.method}/seed{candidate.seed}"
    option, suffix = (" --tflite", "tflite") if candidate.form.startswith("LiteRT") else ("", "onnx")
    if candidate.form.endswith("int8"):
        return f"kdjax sizes {run}{option}    # writes {run}/student-int8.{suffix}"
    return f"kdjax export {run} student.{suffix}"


def _percent(fraction: float | None) -> str:
    """With the minus that tables have; a bound may be below 0."""
    return DASH if fraction is None else f"{100 * fraction:.1f}".replace("-", MINUS)


def verdict(choice: Choice) -> str:
    wanted, score = choice.wanted, choice.score
    limits = [f"at most {limit / COSTS[name][1]:g} {COSTS[name][0]}" for name, limit in wanted.limits.items()]
    name, value = choice.teacher
    of = f"{100 * wanted.keep:g} % of the teacher's {score.title} ({name}: {score.number(value)})"
    if choice.chosen:
        one = choice.chosen
        return (
            f"{one.name}: the smallest of {len(choice.candidates)} that keeps {of} with 95 % confidence"
            f"{', ' * bool(limits)}{listed(limits) if limits else ''}: {score.spread(one.mean, one.std)}, "
            f"{_percent(one.kept)} % kept, at least {_percent(one.lowest)} % over {counted(one.n, 'seed')}."
        )
    known = [each for each in choice.candidates if each.lowest is not None]
    if not known:
        return f"None qualifies: no candidate has two seeds or more, so none keeps {of} with any known confidence."
    fitting = [each for each in known if fits(each, wanted)]
    if not fitting:
        known_cost = f"a known cost of {listed(limits)}" if limits else "known bytes"
        return f"None qualifies: no candidate has {known_cost}."
    best = max(fitting, key=lambda each: each.lowest)
    return (
        f"None qualifies: of {len(fitting)} {'within the limits ' * bool(limits)}the best, {best.name}, keeps at least "
        f"{_percent(best.lowest)} % with 95 % confidence, and {of} was asked for."
    )


def table(choice: Choice) -> list[list[str]]:
    """Header and a line a candidate, the smallest first."""
    units = [unit for unit, _ in COSTS.values()]
    lines = [["student", "n", choice.score.header, "kept, %", "at least", *units, "front"]]
    for each in sorted(choice.candidates, key=lambda one: known(one.bytes)):
        costs = [
            DASH if (c := getattr(each, name)) is None else f"{c / unit:,.3g}" for name, (_, unit) in COSTS.items()
        ]
        mark = "chosen" if choice.chosen == each else "yes" if each.front else ""
        name = each.row if len({one.experiment for one in choice.candidates}) == 1 else f"{each.experiment}: {each.row}"
        score = choice.score.spread(each.mean, each.std)
        kept = (_percent(each.kept), _percent(each.lowest))
        lines.append([clean(f"{name}, {each.form}"), str(each.n), score, *kept, *costs, mark])
    return lines


def notes(choice: Choice) -> list[str]:
    sides = "score / teacher's" if choice.higher_is_better else "teacher's / score, as less is better"
    return [
        f"Kept: the mean over seeds of r = {sides}; at least: mean(r) - t(0.95, n - 1) std(r) / sqrt(n), the lower end "
        "of its one-sided 95 % interval over seeds. The teacher's score is taken as it is.",
        f"Front: no other is at least as good in {choice.score.title}, bytes, ms and FLOPs and better in one.",
        f"Smallest: of those no more than {100 * (SAME - 1):.0f} % larger, the one that surely keeps most.",
        *choice.notes,
    ]


def markdown(choice: Choice) -> str:
    chosen = f"\n\n    {command(choice.chosen)}" if choice.chosen else ""
    below = "\n".join(f"- {note}" for note in notes(choice))
    return f"{verdict(choice)}{chosen}\n\n{tables.markdown(table(choice))}\n\n{below}\n"
