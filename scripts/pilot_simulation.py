"""Whether a test keeps its error rate when seeds decide how many seeds there are: results/pilot/, made in a minute.

Paired differences to a baseline are normal and share the baseline's runs. A pilot of some seeds tells their spread, the
median over methods; a paired t-test at 5 % then has as many seeds as see the wanted difference with 80 % power. Tested
are fresh seeds (what `kdjax run --seeds=until:` does), or the pilot's and those added to them (what it does not do).
"""

from pathlib import Path

import numpy as np
from scipy import stats

from kdjax.files import write_json, write_text
from kdjax.report import power

OUT = Path(__file__).resolve().parent.parent / "results" / "pilot"
REPETITIONS, MOST = 20_000, 40


def main() -> None:
    rows = [row(pilot, methods, ratio) for pilot in (3, 5) for methods in (1, 3, 11) for ratio in (0.7, 1.0, 1.5)]
    write_json(OUT / "pilot.json", {"repetitions": REPETITIONS, "most": MOST, "rows": rows})
    write_text(OUT / "README.md", markdown(rows))
    print(markdown(rows))


def row(pilot: int, methods: int, ratio: float) -> dict:
    """Shares of rejections without a difference, and with the wanted one, `ratio` standard deviations."""
    rng = np.random.default_rng(0)
    first = differences(rng, methods, pilot)
    number = wanted(np.median(first.std(2, ddof=1), axis=1), ratio)
    fresh = differences(rng, 1, MOST)[:, 0]
    grown = np.concatenate([first[:, 0], differences(rng, 1, MOST)[:, 0]], axis=1)[:, : max(MOST, pilot)]
    found = {"pilot": pilot, "methods": methods, "ratio": ratio, "seeds": float(number.mean())}
    for name, values, count in (("fresh", fresh, number), ("grown", grown, np.maximum(number, pilot))):
        found[f"{name}_error"] = rejected(values, count)
        found[f"{name}_power"] = rejected(values + ratio, count)
    return found


def differences(rng, methods: int, seeds: int) -> np.ndarray:
    """[repetitions, methods, seeds] of standard deviation 1, two methods of a seed correlated by 1/2."""
    own = rng.standard_normal((REPETITIONS, methods, seeds))
    return (own - rng.standard_normal((REPETITIONS, 1, seeds))) / np.sqrt(2)


def wanted(spread: np.ndarray, ratio: float) -> np.ndarray:
    """[repetitions] of seeds, as `power.seeds(ratio, spread)` has it, at most MOST."""
    effects = np.array([power.effect(n) for n in range(2, MOST + 1)])
    return 2 + (ratio / spread[:, None] < effects).sum(1).clip(max=MOST - 2)


def rejected(values: np.ndarray, number: np.ndarray) -> float:
    """The share of repetitions whose first `number` values a t-test at 5 % tells from 0."""
    each = [stats.ttest_1samp(values[number == n, :n], 0, axis=1).pvalue < 0.05 for n in np.unique(number)]
    return float(np.concatenate(each).mean())


def markdown(rows: list[dict]) -> str:
    columns = ("pilot's seeds", "methods", "difference / spread", "seeds, mean", "error, fresh", "power")
    columns += ("error, pilot's too", "power")
    lines = [f"| {' | '.join(columns)} |", "|---:" * len(columns) + "|"]
    for each in rows:
        shares = (each[f"{name}_{what}"] for name in ("fresh", "grown") for what in ("error", "power"))
        cells = (each["pilot"], each["methods"], each["ratio"], f"{each['seeds']:.1f}")
        lines.append(f"| {' | '.join(map(str, (*cells, *(f'{100 * share:.1f} %' for share in shares))))} |")
    about = " ".join(__doc__.split("\n\n")[1].split())
    return (
        "# Seeds until a difference can be seen\n\n"
        + "\n".join(lines)
        + f"\n\n{about} {REPETITIONS:,} experiments a row, at most {MOST} seeds. Power is below 80 % where the pilot, "
        "by chance, saw too little spread; a larger pilot mends that. Made by scripts/pilot_simulation.py.\n"
    )


if __name__ == "__main__":
    main()
