"""Search a candidate's parameters on validation rows: seeded, with a budget, resumed where it was stopped.

The history is Optuna's journal (JSON lines), one file per split, candidate and seed. Each trial's sampler is seeded by
its number and sees the finished trials only, so a search that was killed and resumed is the undisturbed one.
"""

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from assets.candidates.fitting import fit_candidate
from assets.candidates.predictor import score_function
from assets.candidates.registry import Algorithm, Progress
from assets.candidates.resampling import SMOTE_ROWS
from assets.candidates.training_set import TrainingSet
from assets.errors import HeadraceError
from assets.records import content_hash
from assets.spec import CandidateSpec, ProductSpec, SearchSpec
from assets.tasks import CLASSIFICATION, DIRECTIONS, Scores

if TYPE_CHECKING:
    import optuna

_LOGARITHMIC_FROM = 100  # high over low from which a range is searched by orders of magnitude
_WORST = 1e300  # what a metric that is no number counts as: a journal holds no infinity
_SECONDS = "seconds"

Choice = int | float | str | bool


@dataclass(frozen=True)
class Searched:
    """The best parameters found, and a row per finished trial: number, value, best so far, seconds, parameters."""

    params: Mapping[str, Choice]
    trials: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Search:
    """One search: what is searched, by which rules."""

    algorithm: Algorithm
    candidate: CandidateSpec
    budget: SearchSpec
    spec: ProductSpec
    threads: int
    progress: Progress

    @property
    def metric(self) -> str:
        """The metric that decides."""
        return self.spec.gates.primary

    def run(self, rows: TrainingSet, folder: Path, *, identity: Sequence[Any]) -> Searched:
        """Finish the search's trials; those that are in its journal aren't repeated.

        Args:
            rows: judged on validation rows, and on `folds` where there are some; test rows are not among them.
            folder: where journals are kept.
            identity: what else names the rows (and versions): another identity is another search.

        Raises:
            HeadraceError: the space is wrong, or there is nothing to judge on.
        """
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        judged = judged_by(rows, smote=self.candidate.resample == "smote")
        if not judged:
            raise HeadraceError(
                "a search is judged on validation rows, and there are none",
                where=f"candidates: {self.candidate.algorithm}",
                fix="give the split a validation share, or leave search out",
            )
        space = self._space()
        path = self._journal(folder, identity, rows)
        path.parent.mkdir(parents=True, exist_ok=True)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with FileLock(f"{path}.held"), warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            _mend(path)
            study = optuna.create_study(
                storage=JournalStorage(JournalFileBackend(str(path))),
                study_name=path.stem,
                direction="maximize" if DIRECTIONS[self.metric] > 0 else "minimize",
                load_if_exists=True,
            )
            self._finish(study, judged, space)
            return self._found(study)

    def _finish(self, study: "optuna.Study", judged: Sequence[TrainingSet], space: dict[str, Any]) -> None:
        import optuna

        for left in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            study.tell(left.number, state=optuna.trial.TrialState.FAIL)  # a killed process was at it
        done = _done(study)
        spent, took = sum(trial.user_attrs[_SECONDS] for trial in done), [0.0]
        for number in range(len(done), self.budget.trials):
            if number and self.budget.max_seconds and spent >= self.budget.max_seconds:
                self.progress(f"stopped after {number} trials: {self.budget.max_seconds:g} s are spent")
                break
            started = time.perf_counter()
            study.sampler = optuna.samplers.TPESampler(seed=_seed(self.spec.seed, number))
            first = self._defaults(space) if number == 0 else None
            trial = None if first else study.ask(space)
            params = first or (trial.params if trial else {})
            value = self._value(judged, params)
            seconds = time.perf_counter() - started
            if trial is None:
                study.add_trial(
                    optuna.trial.create_trial(
                        params=params, distributions=space, value=value, user_attrs={_SECONDS: seconds}
                    )
                )
            else:
                trial.set_user_attr(_SECONDS, seconds)
                study.tell(trial, value)
            spent += seconds
            took.append(seconds)
            self._report(number + 1, study.best_value, spent, float(np.mean(took[1:])))

    def _report(self, number: int, best: float, spent: float, each: float) -> None:
        left = each * (self.budget.trials - number)
        if self.budget.max_seconds:
            left = min(left, max(self.budget.max_seconds - spent, 0))
        self.progress(
            f"{self.candidate.algorithm}: trial {number} of {self.budget.trials}, best {self.metric} {best:.4f}, "
            f"about {left:.0f} s left"
        )

    def _value(self, judged: Sequence[TrainingSet], params: Mapping[str, Choice]) -> float:
        """The metric that parameters reach, the mean of what it is judged on."""
        value = float(np.mean([self._judge(part, params) for part in judged]))
        return value if np.isfinite(value) else -DIRECTIONS[self.metric] * _WORST

    def _judge(self, rows: TrainingSet, params: Mapping[str, Choice]) -> float:
        from assets.evaluation.metrics import task_metrics

        seen, codes = _dense(rows)
        fitted = fit_candidate(
            self.algorithm, self.candidate, seen, params, seed=self.spec.seed, threads=self.threads,
            progress=lambda _: None,
        )  # fmt: skip
        score = score_function(
            fitted.file_name, fitted.content, task=rows.task, columns=rows.columns, threads=self.threads
        )
        scores = score(rows.validation)
        if codes is not None:
            scores = _spread(scores, codes, len(rows.classes))
        found = task_metrics(
            rows.task,
            rows.validation_labels,
            scores,
            threshold=self.spec.decision_threshold,
            classes=rows.classes,
            matrix=rows.validation,
            categorical=rows.categorical,
            seed=self.spec.seed,
        )
        return found.get(self.metric, float("nan"))

    def _space(self) -> dict[str, Any]:
        """Optuna's distributions of what the spec doesn't fix.

        Raises:
            HeadraceError: a parameter is unknown, a range is empty, or nothing is left to search.
        """
        space = {
            name: values
            for name, values in (self.budget.space or self.algorithm.space).items()
            if name not in self.candidate.params
        }
        where = f"candidates: {self.candidate.algorithm}: search"
        unknown = sorted(set(space) - set(self.algorithm.defaults))
        if unknown or not space:
            raise HeadraceError(
                f"unknown parameter {', '.join(unknown)}" if unknown else "nothing is left to search",
                where=where,
                expected=", ".join(sorted(self.algorithm.defaults)) or "an algorithm with parameters",
                fix="correct the names in space, or leave search out",
            )
        try:
            return {name: _distribution(values, self.algorithm.defaults[name]) for name, values in space.items()}
        except ValueError as error:
            raise HeadraceError(
                "a range of the space is empty", where=where, found=str(error), fix="write [low, high], or the choices"
            ) from None

    def _defaults(self, space: dict[str, Any]) -> dict[str, Choice] | None:
        """The algorithm's own parameters as the first trial, so that a search never does worse; None if outside."""
        params = {name: self.algorithm.defaults[name] for name in space}
        return params if _holds(space, params) else None

    def _journal(self, folder: Path, identity: Sequence[Any], rows: TrainingSet) -> Path:
        # a larger budget goes on where a smaller one ended, so the budget doesn't name the search
        config = self.candidate.model_dump(mode="json", exclude={"search": {"trials", "max_seconds"}})
        rules = [rows.task, self.metric, self.spec.decision_threshold, self.spec.seed]
        named = content_hash([config, rules, list(identity), sorted(self.algorithm.space)])[:16]
        return folder / f"{self.candidate.algorithm}-{named}.jsonl"

    def _found(self, study: "optuna.Study") -> Searched:
        direction, rows, best = DIRECTIONS[self.metric], [], -np.inf
        for number, trial in enumerate(_done(study)):
            best = max(best, direction * float(trial.value or 0.0))
            rows.append(
                {
                    "trial": number + 1,
                    self.metric: trial.value,
                    "best": direction * best,
                    _SECONDS: trial.user_attrs[_SECONDS],
                    **trial.params,
                }
            )
        return Searched(study.best_params, tuple(rows))


def judged_by(rows: TrainingSet, *, smote: bool = False) -> list[TrainingSet]:
    """What a search is judged on: training sets with validation rows that come after.

    With folds: fold n as the validation rows of the folds before it, and last the validation rows after all of them
    (rolling origin; Tashman 2000). Left out is what can't be judged: no validation rows, one class before them, or
    with SMOTE a fold before which a class has one row only.
    """
    found = []
    for fold in [] if rows.folds is None else np.unique(rows.folds)[1:]:
        before, inside = rows.folds < fold, rows.folds == fold
        if smote and (np.unique(rows.train_labels[before], return_counts=True)[1] < SMOTE_ROWS).any():
            continue
        found.append(
            replace(
                rows,
                train=rows.train[before],
                train_labels=rows.train_labels[before],
                validation=rows.train[inside],
                validation_labels=rows.train_labels[inside],
                weights=None if rows.weights is None else rows.weights[before],
                folds=None,
            )
        )
    found.append(rows if rows.folds is None else replace(rows, folds=None))
    needed = 2 if rows.task in CLASSIFICATION else 1
    return [part for part in found if len(part.validation) and len(np.unique(part.train_labels)) >= needed]


def _dense(rows: TrainingSet) -> tuple[TrainingSet, NDArray[np.int_] | None]:
    """The rows with codes of the classes that are among their training rows only, and these classes' places.

    An early fold needn't have every class. None where nothing is lacking.
    """
    if rows.task != "multiclass":
        return rows, None
    codes = np.unique(rows.train_labels)
    if len(codes) == len(rows.classes):
        return rows, None
    known = np.isin(rows.validation_labels, codes)
    return (
        replace(
            rows,
            classes=tuple(rows.classes[code] for code in codes),
            train_labels=np.searchsorted(codes, rows.train_labels),
            validation=rows.validation[known],
            validation_labels=np.searchsorted(codes, rows.validation_labels[known]),
        ),
        codes,
    )


def _spread(scores: Scores, codes: NDArray[np.int_], classes: int) -> Scores:
    """Probabilities of some classes as those of all, shape (rows, classes): the others have none."""
    spread = np.zeros((len(scores), classes))
    spread[:, codes] = scores
    return spread


def _distribution(values: Sequence[Choice], default: Choice) -> Any:
    """Two numbers are a range, of floats where the parameter is one; anything else are choices.

    Raises:
        ValueError: the range is empty.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(values) != 2 or len(numbers) != 2:  # noqa: PLR2004
        return CategoricalDistribution(tuple(values))
    low, high = numbers
    log = low > 0 and high / low >= _LOGARITHMIC_FROM
    if isinstance(low, int) and isinstance(high, int) and not isinstance(default, float):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(float(low), float(high), log=log)


def _holds(space: dict[str, Any], params: Mapping[str, Choice]) -> bool:
    """Whether the parameters are in the space, by Optuna's own judgement."""
    import optuna

    try:
        optuna.trial.create_trial(params=dict(params), distributions=space, value=0.0)
    except ValueError:
        return False
    return True


def _seed(seed: int, number: int) -> int:
    """The seed of a trial's sampler: from the spec's and the trial's number, so that a resumed search is the same."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def _done(study: "optuna.Study") -> "list[optuna.trial.FrozenTrial]":
    import optuna

    return study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))


def _mend(journal: Path) -> None:
    """Remove what a killed process left: half a line, and Optuna's lock (ours goes with its process)."""
    Path(f"{journal}.lock").unlink(missing_ok=True)
    if journal.exists():
        content = journal.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with journal.open("r+b") as file:
                file.truncate(whole)
