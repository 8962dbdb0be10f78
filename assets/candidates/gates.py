"""The training gate: what a candidate has to show before it is judged, each verdict with the evidence behind it."""

import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from assets.candidates import registry
from assets.candidates.control import MEASURE, association, control_score, few_of, quick_params
from assets.candidates.fitting import fit_candidate, prepared
from assets.candidates.predictor import load_predictor, score_function
from assets.candidates.registry import Algorithm
from assets.candidates.training import Trained
from assets.candidates.training_set import TrainingSet
from assets.model_store import sha256_of
from assets.records import Gate
from assets.spec import CandidateSpec, ProductSpec, Severity
from assets.tasks import CLASSIFICATION, NUMERIC, Scores, Task, improvement

T = TypeVar("T")

# Enough rows for every code path of a fit; a second fit on all rows would double the cost of training.
_REFIT_ROWS = 2_000
_CONTROL_ROWS = 4_000
_LINEAR_ROWS = 6_000
# Probabilities are float32 in an ONNX file, so those of many classes add up to one but for rounding.
_SUM_TOLERANCE = 1e-3
# Standard errors above chance from which a control knows something (1 in 700), and up to which a candidate may not
_Z_CONTROL, _Z_LEARNS = 3.0, 2.0
# shuffles that have to score above chance on average: opposites of lopsided objectives (quantile) don't cancel out
_SHUFFLES = 3
# Share of all that a fit has gained which its last tenth of rounds may bring while its curve counts as flat
_FLAT = 0.01
# how much worse than after its first round, as a share of it, a loss is when the fit has diverged
_DIVERGED = 0.5
_LINEAR = {"binary": "logistic_regression", "multiclass": "logistic_regression"} | dict.fromkeys(
    sorted(NUMERIC), "linear_regression"
)
# what the last training set's references have reached: they are the same for all candidates of a run
_KNOWN: dict[str, Any] = {}


def gates_of(spec: ProductSpec) -> dict[str, str]:
    """The gates of every candidate and what each asks, known without any model."""
    proper = "Every score is a probability" if spec.task in CLASSIFICATION else "Every score is a finite number"
    own = {
        "trained": "Rows it was trained on",
        "finite": proper,
        "deterministic": "Two fits of the same rows give the same file",
        "converged": "The fit came to its end: the loss is finite, did not diverge and no longer falls",
        "shuffled_control": "Fitted on shuffled labels it scores at chance, so nothing leaks around the labels",
        "learns": "It is better than the best of the baselines on the validation rows",
        "beats_linear": "It is better than a linear model on the validation rows",
    }
    if spec.gates.training.identical_severity == "block":
        own["identical_rows"] = "Rows of validation and test that are training rows, too (see the split)"
    return own


def training_gates(
    spec: ProductSpec,
    candidate: CandidateSpec,
    algorithm: Algorithm,
    trained: Trained,
    rows: TrainingSet,
    *,
    threads: int,
    of_split: Sequence[Gate] = (),
) -> tuple[Gate, ...]:
    """Every training gate of one trained candidate, in the order of `gates_of`.

    Args:
        spec: the product.
        candidate: as in the spec.
        algorithm: what was trained.
        trained: the saved model, which is loaded and scores the validation rows.
        rows: what it was trained on; what it is held against is kept for the next candidate on these rows.
        threads: as many as the training had, for the proof of determinism.
        of_split: gates about the rows that are part of the word about the model, too.
    """
    manifest = trained.manifest
    scores = load_predictor(trained.folder, threads=threads).scores_of_matrix(rows.validation)
    improper = improper_rows(spec.task, scores, manifest.classes)
    first, second = refit_hashes(candidate, algorithm, manifest.params, rows, spec.seed, threads)
    least = spec.split.min_train_rows
    found = [
        _gate("trained", manifest.training_rows, least, "training rows", passed=manifest.training_rows >= least),
        _gate("finite", improper, 0, f"improper scores of {len(scores):,} validation rows", passed=improper == 0),
        _gate(
            "deterministic",
            second[:16],
            first[:16],
            f"hashes of two fits on {min(_REFIT_ROWS, len(rows.train_labels)):,} training rows",
            passed=first == second,
        ),
        convergence(trained.history),
        _shuffled_control(spec, candidate, algorithm, manifest.params, rows),
        *_held_against_others(spec, candidate, algorithm, rows, scores),
        *of_split,
    ]
    by_name = {gate.name: gate for gate in found}
    return tuple(by_name[name] for name in gates_of(spec))


# --- the model itself -----------------------------------------------------------------------------------------------


def improper_rows(task: Task, scores: Scores, classes: Sequence[str] = ()) -> int:
    """How many rows have a score that is not finite, or no probability (of multiclass: of each class) where it should.

    Args:
        task: says what a score is.
        scores: see `assets.tasks`.
        classes: of multiclass: in the order of the probabilities.
    """
    wide = scores.reshape(len(scores), -1)
    proper = np.isfinite(wide).all(axis=1)
    if task in CLASSIFICATION:
        proper &= ((wide >= 0) & (wide <= 1)).all(axis=1)
    if task == "multiclass":
        proper &= (np.abs(wide.sum(axis=1) - 1) <= _SUM_TOLERANCE) & (wide.shape[1] == len(classes))
    return int((~proper).sum())


def refit_hashes(
    candidate: CandidateSpec,
    algorithm: Algorithm,
    params: Mapping[str, Any],
    rows: TrainingSet,
    seed: int,
    threads: int,
) -> tuple[str, str]:
    """Hashes of two fits on the same few rows with the same seed and the parameters used, made quick."""
    few, quick = few_of(prepared(algorithm, candidate, rows), _REFIT_ROWS), quick_params(algorithm, params)
    files = [
        fit_candidate(algorithm, candidate, few, quick, seed=seed, threads=threads, progress=lambda _: None).content
        for _ in range(2)
    ]
    return sha256_of(files[0]), sha256_of(files[1])


def convergence(history: Mapping[str, Any]) -> Gate:
    """Whether a fit came to its end, by what it reports of itself.

    Args:
        history: of boosting `validation_loss` (a loss per round), `rounds` used, `max_rounds`; of a solver
            `iterations` and `max_iterations`; neither: it was fitted in one step.
    """
    if history.get("validation_loss"):
        return _curve(history)
    if "max_iterations" in history:
        steps, most = int(history["iterations"]), int(history["max_iterations"])
        hint = "" if steps < most else "; allow more of them, or a stronger penalty"
        return _gate("converged", steps, f"fewer than {most}", f"iterations of the solver{hint}", passed=steps < most)
    if "max_rounds" in history:
        return _passed("converged", f"{history['rounds']} rounds", "no validation rows to watch")
    return _passed("converged", "one step", "fitted in one step")


def _curve(history: Mapping[str, Any]) -> Gate:
    """The verdict about a curve of losses, one per round."""
    losses, metric = [float(loss) for loss in history["validation_loss"]], history["validation_metric"]
    rounds, most, asked = int(history["rounds"]), int(history["max_rounds"]), "finite, falling, then flat"
    broken = next((place for place, loss in enumerate(losses) if not math.isfinite(loss)), None)
    if broken is not None:
        said = f"{metric} is {losses[broken]} in round {broken + 1}; lower learning_rate, look at the labels"
        return _gate("converged", str(losses[broken]), asked, said, passed=False)
    first, last, best, used = losses[0], losses[-1], min(losses), losses[rounds - 1]
    end = last if best == first else used
    if len(losses) > 1 and end >= first:
        diverged = end - first > _DIVERGED * abs(first)
        why = "diverged" if diverged else "no better than the first round"
        said = f"{why}: {metric} {first:.4g} after 1 round, {end:.4g} in the end; lower learning_rate, or look whether "
        said += "there is anything to learn"
        return _gate("converged", end, first, said, passed=False, severity="block" if diverged else "warn")
    fell = f"{metric} {first:.4g} to {used:.4g}"
    if len(losses) < most:
        return _passed("converged", f"stopped early at round {rounds}", fell, asked)
    tail = max(1, len(losses) // 10)
    late, risen, little = min(losses[:-tail], default=first) - best, used - best, _FLAT * (first - best)
    if late <= little and risen <= little:
        return _passed("converged", f"flat after {most} rounds", fell, asked)
    observed = f"improving at round {most}" if late > little else f"rising at round {most}"
    said = f"used all {most} rounds; still improving by {late:.2g} {metric} in the last {tail}; allow more rounds"
    if late <= little:
        said = f"used all {most} rounds; {metric} is {risen:.2g} above its best; set early_stopping_rounds"
    return _gate("converged", observed, asked, said, passed=False, severity="warn")


def _shuffled_control(
    spec: ProductSpec, candidate: CandidateSpec, algorithm: Algorithm, params: Mapping[str, Any], rows: TrainingSet
) -> Gate:
    name = "shuffled_control"
    if not spec.gates.training.shuffled_control:
        return _passed(name, "off", "off by gates.training.shuffled_control")
    if algorithm.is_baseline:
        return _passed(name, "is a baseline", "a baseline learns nothing from rows")
    if rows.task == "clustering":
        return _passed(name, "no labels", "a clustering has no labels to shuffle; learns is against shuffled columns")
    few = few_of(prepared(algorithm, candidate, rows), _CONTROL_ROWS)
    values: list[float] = []
    for shuffle in range(_SHUFFLES):
        found, chance, error = control_score(candidate, algorithm, params, few, spec.seed + shuffle)
        values.append(found)
        value, limit = float(np.mean(values)), chance + _Z_CONTROL * error
        if value <= limit:
            break
    said = f"{MEASURE[rows.task]} on {len(few.validation_labels):,} validation rows of fits on shuffled labels"
    if value <= limit:
        return _gate(name, value, limit, f"{said}; chance is {chance:g}", passed=True)
    said += f": {value:.4g}, chance gives at most {limit:.4g}. Outcomes reach the scores around the training labels"
    return _gate(name, value, limit, f"{said}: look at what the fit sees besides them", passed=False)


# --- what it is held against ----------------------------------------------------------------------------------------


def _held_against_others(
    spec: ProductSpec, candidate: CandidateSpec, algorithm: Algorithm, rows: TrainingSet, scores: Scores
) -> list[Gate]:
    """`learns` and `beats_linear` of the scores of the validation rows."""
    if algorithm.is_baseline:
        return [_passed(name, "is a baseline", "it is what others must beat") for name in ("learns", "beats_linear")]
    own = _primary(spec, rows, scores) if np.isfinite(scores).all() else None
    return [_learns(spec, rows, scores, own), _beats_linear(spec, candidate, rows, own)]


def _learns(spec: ProductSpec, rows: TrainingSet, scores: Scores, own: float | None) -> Gate:
    primary = spec.gates.primary
    if own is None:
        return _undefined("learns", primary, scores)
    reached = _once(spec, rows, "baselines", lambda: _of_baselines(spec, rows))
    if not reached:
        return _undefined("learns", primary, scores)
    name = max(reached, key=lambda item: improvement(primary, reached[item], 0.0))
    said = f"{primary} {own:.4g} on the validation rows, the {name}'s {reached[name]:.4g}"
    if improvement(primary, own, reached[name]) <= 0:
        return _gate("learns", own, reached[name], f"{said}: it has learned nothing", passed=False)
    if rows.task != "clustering":
        value, chance, error = association(rows.task, rows.validation_labels, scores)
        if value <= chance + _Z_LEARNS * error:
            said += f"; its {MEASURE[rows.task]} {value:.4g} may be luck on so few rows"
            return _gate("learns", own, reached[name], said, passed=False, severity="warn")
    return _gate("learns", own, reached[name], said, passed=True)


def _beats_linear(spec: ProductSpec, candidate: CandidateSpec, rows: TrainingSet, own: float | None) -> Gate:
    name, primary = "beats_linear", spec.gates.primary
    linear = _LINEAR.get(rows.task)
    if linear is None:
        return _passed(name, "no linear model", "there is no linear model of a clustering")
    if candidate.algorithm == linear:
        return _passed(name, "is the linear model", "it is what others are held against")
    reached = None if own is None else _once(spec, rows, linear, lambda: _of_linear(spec, rows, linear))
    if own is None or reached is None:
        return _passed(name, "not comparable", f"the validation rows don't define {primary} of both")
    said = f"{primary} {own:.4g} on the validation rows, a quick linear model's {reached:.4g}"
    better = improvement(primary, own, reached) > 0
    said += "" if better else "; the linear model is simpler and as good"
    return _gate(name, own, reached, said, passed=better, severity=spec.gates.training.beats_linear)


def _of_baselines(spec: ProductSpec, rows: TrainingSet) -> dict[str, float]:
    """Primary metric of each baseline of the spec on the validation rows; of a clustering on shuffled columns."""
    from assets.evaluation.judge import permuted

    null = replace(rows, validation=permuted(rows.validation, spec.seed)) if rows.task == "clustering" else rows
    found = {}
    for item in spec.candidates:
        algorithm = registry.algorithm(item.algorithm)
        if algorithm.is_baseline:
            value = _primary(spec, null, _fitted_scores(spec, algorithm, item, rows, null.validation))
            if value is not None:
                found[item.algorithm] = value
    return found


def _of_linear(spec: ProductSpec, rows: TrainingSet, name: str) -> float | None:
    """Primary metric of a linear model that was fitted on some of the training rows."""
    candidate, algorithm = CandidateSpec(algorithm=name), registry.algorithm(name)
    few = few_of(rows, _LINEAR_ROWS)
    return _primary(spec, rows, _fitted_scores(spec, algorithm, candidate, few, rows.validation))


def _fitted_scores(
    spec: ProductSpec,
    algorithm: Algorithm,
    candidate: CandidateSpec,
    rows: TrainingSet,
    validation: NDArray[np.float64],
) -> Scores:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        fitted = fit_candidate(
            algorithm, candidate, prepared(algorithm, candidate, rows), {}, seed=spec.seed, threads=1,
            progress=lambda _: None,
        )  # fmt: skip
        score = score_function(fitted.file_name, fitted.content, task=rows.task, columns=rows.columns, threads=1)
        return score(validation)


def _primary(spec: ProductSpec, rows: TrainingSet, scores: Scores) -> float | None:
    """The metric that decides, on the validation rows; None where they don't define it."""
    from assets.evaluation.metrics import task_metrics

    found = task_metrics(
        rows.task,
        rows.validation_labels,
        scores,
        threshold=spec.decision_threshold,
        classes=rows.classes,
        matrix=rows.validation,
        categorical=rows.categorical,
        seed=spec.seed,
    )
    return found.get(spec.gates.primary)


def _once(spec: ProductSpec, rows: TrainingSet, name: str, reckon: Callable[[], T]) -> T:
    """What is reckoned, from memory if it was for these rows and this spec; the rows themselves aren't kept alive."""
    known = _KNOWN.get("rows")
    if known is None or known() is not rows or _KNOWN["spec"] != spec.spec_hash:
        _KNOWN.clear()
        _KNOWN.update(rows=weakref.ref(rows), spec=spec.spec_hash)
    if name not in _KNOWN:
        _KNOWN[name] = reckon()
    found: T = _KNOWN[name]
    return found


def _gate(
    name: str,
    observed: float | str,
    threshold: float | str,
    detail: str,
    *,
    passed: bool,
    severity: Severity = "block",
) -> Gate:
    failed = "FAILED" if severity == "block" else "WARNED"
    return Gate.model_validate(
        {
            "name": name,
            "verdict": "PASSED" if passed else failed,
            "observed": observed,
            "threshold": threshold,
            "detail": detail,
        }
    )


def _passed(name: str, observed: str, detail: str, threshold: str = "none") -> Gate:
    """What passes as there is nothing to measure, or by what is said of it."""
    return _gate(name, observed, threshold, detail, passed=True)


def _undefined(name: str, primary: str, scores: Scores) -> Gate:
    """A failure where scores are no numbers; else a warning that the rows can't say."""
    if not np.isfinite(scores).all():
        return _gate(name, "no numbers", "finite scores", "scores are no numbers: nothing to judge", passed=False)
    said = f"the validation rows don't define {primary}"
    return _gate(name, "undefined", "a number", said, passed=False, severity="warn")
