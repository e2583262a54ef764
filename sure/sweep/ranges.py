"""Values out of ranges, by Optuna's tree-structured Parzen estimator (Bergstra et al. 2011)."""

from typing import Any

from sure.errors import SureError
from sure.sweep.plan import Range

# A value is what its cell's name says.
_DIGITS = ".3g"


def suggest(
    ranges: dict[str, Range | list[Any]],
    results: list[tuple[dict[str, Any], float | None]],
    seed: int,
    higher_is_better: bool,
    tries: int,
) -> dict[str, Any]:
    """The next values to try, after those that have a result (None: it failed); the same for the same results.

    Half of the tries, ten at most, are random. Raises `SureError` where Optuna is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise SureError('`select: optuna` needs Optuna: pip install "sure-bench[tune]".') from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {
        name: optuna.distributions.FloatDistribution(one.low, one.high, log=one.log)
        if isinstance(one, Range)
        else optuna.distributions.CategoricalDistribution(one)
        for name, one in ranges.items()
    }
    # A sampler of its own for each try, so that one needs no memory of the others but their results.
    sampler = optuna.samplers.TPESampler(seed=seed + len(results), n_startup_trials=min(10, max(1, tries // 2)))
    study = optuna.create_study(direction="maximize" if higher_is_better else "minimize", sampler=sampler)
    for values, score in results:
        outcome = {"value": score} if score is not None else {"state": optuna.trial.TrialState.FAIL}
        study.add_trial(optuna.trial.create_trial(params=values, distributions=distributions, **outcome))
    asked = study.ask(distributions).params
    return {name: _rounded(value, ranges[name]) for name, value in asked.items()}


def _rounded(value: Any, of: Range | list[Any]) -> Any:
    return min(max(float(f"{value:{_DIGITS}}"), of.low), of.high) if isinstance(of, Range) else value
