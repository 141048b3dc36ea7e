"""How often what an experiment says is false, over many truths: the table of docs/statistics.md.

Three seeds and twelve inputs, as an experiment has them. A quarter of an hour; `--runs 200` is a quick look.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from tests.bench.command_line import parser
from tests.support.recipe_levels import (
    Coverage,
    adapter_coverage,
    difference_coverage,
    false_winners,
    main_effect_coverage,
    over_both,
    over_inputs,
    over_seeds,
    prediction_levels,
    tau_coverage,
)
from tests.support.simulated_recipes import TRUTHS, Truth

AGREE = [0.0, 0.05, 0.1, 0.15, 0.2, 0.25]
SCENARIOS = {
    "agree": (AGREE, AGREE),
    "all alike": ([0.0] * 6, [0.0] * 6),
    "alike before": ([0.0] * 6, AGREE),
    "alike after": (AGREE, [0.0] * 6),
    "hardly told apart, agree": ([0.01 * place for place in range(6)], [0.01 * place for place in range(6)]),
    "turned round": (AGREE, AGREE[::-1]),
    "the last is first": ([0.0, 0.1, 0.15, 0.2, 0.25, 0.3], [0.3, 0.0, 0.05, 0.1, 0.1, 0.1]),
}


def _share(found: Sequence[Coverage]) -> str:
    least = min(one.covered for one in found)
    return (
        f"{100 * fmean(one.covered for one in found):.1f} | {100 * least:.1f} | {fmean(one.width for one in found):.2f}"
    )


def _coverages(runs: int) -> None:
    kinds: dict[str, list[Truth]] = {}
    for truth in TRUTHS:
        kinds.setdefault(truth.name.partition(";")[0], []).append(truth)
    print("| interval, 95 % | truths | mean % | least % | mean width |\n|---|---|---|---|---|")
    for untrained in (False, True):
        for name, interval in (
            ("seeds and inputs", over_both),
            ("inputs alone", over_inputs),
            ("seeds alone", over_seeds),
        ):
            for kind, truths in kinds.items():
                found = [difference_coverage(one, interval, runs=runs, untrained=untrained) for one in truths]
                other = "less untrained" if untrained else "two recipes"
                print(f"| {other}, {name} | {kind} | {_share(found)} |", flush=True)
    for name, measured in (
        ("two adapters, inputs", adapter_coverage),
        ("main effect, three pairs", main_effect_coverage),
    ):
        for kind, truths in kinds.items():
            print(f"| {name} | {kind} | {_share([measured(one, runs=runs) for one in truths])} |", flush=True)


def _winners(runs: int) -> None:
    print("| six equal arms: one is left out | % |\n|---|---|")
    for truth in TRUTHS:
        print(f"| {truth.name} | {100 * false_winners(truth, [0.0] * 6, runs=runs):.1f} |", flush=True)


def _predictions(runs: int) -> None:
    print("| before and after | truth | predicts % | does not % | regret of top 1, 2, 3: covered %, width |")
    print("|---|---|---|---|---|")
    chosen = [one for one in TRUTHS if one.name.startswith(("five checks;", "right or wrong;"))]
    for scenario, (before, after) in SCENARIOS.items():
        for truth in chosen:
            found = prediction_levels(truth, before, after, runs=runs)
            regrets = ", ".join(f"{100 * one.covered:.0f} ({one.width:.2f})" for one in found.regrets)
            said = f"{100 * found.said['predicts']:.1f} | {100 * found.said['does_not_predict']:.1f}"
            print(f"| {scenario} | {truth.name} | {said} | {regrets} |", flush=True)


def _tau(runs: int) -> None:
    print("| τ, bootstrap over models | covered % | width |\n|---|---|---|")
    for models in (5, 6, 8, 12):
        for correlation in (0.0, 0.6):
            found = tau_coverage(models, correlation, runs=runs)
            print(f"| {models} models, correlation {correlation} | {100 * found.covered:.1f} | {found.width:.2f} |")


def main(arguments: Sequence[str] = ()) -> None:
    command = parser("experiment_statistics", __doc__)
    command.add_argument("--runs", type=int, default=2000, help="simulated experiments for each line (default 2000)")
    runs = command.parse_args(arguments).runs
    _coverages(runs)
    _winners(runs)
    _predictions(max(runs // 4, 50))
    _tau(max(runs // 4, 50))


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
