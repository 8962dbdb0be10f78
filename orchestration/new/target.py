"""The target: which column it is, what task it makes, and the SQL of its label."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from assets.errors import HeadraceError
from assets.naming import literal, quoted
from assets.tasks import CLASSIFICATION, NUMERIC, Task
from orchestration.new.profile import ID_NAME, Column, Profile, fold_spellings, span
from orchestration.new.series import Series
from orchestration.new.wishes import Wishes, no_column, shortened

MIN_CLASS_ROWS = 5
MAX_CLASSES = 50
_INTEGER_CLASSES = 10
_ROWS_PER_CLASS = 10

# names that say that a column is to be predicted, the most telling first
_TARGETS = (
    "target", "label_", "class", "y", "outcome", "response", "target_class", "is_fraud", "fraud", "churn", "churned",
    "default_", "survived", "diagnosis", "species", "approved", "loan_status", "status", "income", "quality", "price",
    "sales", "demand", "load", "revenue", "result", "rating", "score", "value",
)  # fmt: skip
_IS_TARGET = re.compile(r"(is|has|was|target|label)_")
# the one of two values that is looked for, and the one that isn't
_POSITIVE = (
    "1", "true", "t", "yes", "y", "positive", "pos", "malignant", "m", "bad", "default", "fraud", "churn", "churned",
    "spam", "died", "dead", "survived", "approved", "success", "win", "won", "good", "high", ">50k", ">50k.", "present",
)  # fmt: skip
_NEGATIVE = (
    "0", "false", "f", "no", "n", "negative", "neg", "benign", "b", "none", "ham", "alive", "rejected", "failure",
    "lost", "low", "absent", "normal", "not", "control",
)  # fmt: skip


@dataclass(frozen=True)
class Label:
    """The label of each row, as SQL over the cleaned columns, and what is known of it."""

    sql: str
    meaning: str
    title: str
    rows: int  # with a label
    classes: int = 0
    positive_share: float = 0.0
    least: float = 0.0  # smallest magnitude of a number


def find_target(
    profile: Profile, wishes: Wishes, useless: Mapping[str, str], series: Series | None
) -> tuple[Column | None, Task]:
    """The column to predict and the task; no column for a clustering that none is kept out of.

    The column is another than the profile's where spellings of its values were brought together.

    Raises:
        HeadraceError: the column isn't there, is constant or doesn't fit the task.
    """
    if wishes.target:
        target = profile.column(wishes.target)
        if target is None:
            raise no_column(profile, "--target", wishes.target)
        if wishes.task == "clustering":
            wishes.say("target", f"{target.raw} is kept out: a clustering has no target")
            return target, "clustering"
        wishes.say("target", f"{target.raw}, as you said")
        target = _with_one_spelling(profile, target, wishes)
        return target, _task(target, wishes, series)
    if wishes.task == "clustering":
        return None, "clustering"
    found = _guess(profile, wishes, useless, series)
    if found is not None:
        found = _with_one_spelling(profile, found, wishes)
        return found, _task(found, wishes, series)
    if wishes.task == "auto":
        wishes.say("task", "clustering, since no column looks like a target")
        return None, "clustering"
    raise HeadraceError(
        "no column looks like a target",
        expected=f"a target for {wishes.task}",
        found=shortened([column.raw for column in profile.columns]),
        fix="name it with --target COLUMN",
    )


def _with_one_spelling(profile: Profile, target: Column, wishes: Wishes) -> Column:
    """The target with `Yes`, `YES` and `yes ` as one class."""
    folded = fold_spellings(profile.con, target)
    if folded is not target:
        spellings = f"{target.distinct:,} spellings of {folded.distinct:,} values"
        wishes.say(
            "target", f"{spellings} that differ in case and spaces only are read as {shortened(folded.examples)}"
        )
    return folded


def _guess(profile: Profile, wishes: Wishes, useless: Mapping[str, str], series: Series | None) -> Column | None:
    """A target by name, else by place; asked about where someone can answer."""
    possible = [column for column in profile.columns if _may_be_target(column, useless, wishes.task)]
    if series is not None and possible:
        parts = {series.time.raw, *(item.raw for item in series.entities)}
        numbers = [column for column in possible if column.is_numeric and column.raw not in parts]
        # a series whose last column is a class is as likely about that
        if numbers and (wishes.task == "forecast" or possible[-1] in numbers):
            possible = numbers
    if not possible:
        return None
    named = [column for word in _TARGETS for column in possible if column.name.rstrip("_") == word.rstrip("_")]
    named += [column for column in possible if _IS_TARGET.match(column.name)]
    guess = named[0] if named else possible[-1]
    chosen = wishes.ask("Which column is to be predicted?", [column.raw for column in possible], guess.raw)
    if chosen != guess.raw:
        wishes.say("target", f"{chosen}, as you said")
        return profile.column(chosen)
    why = "its name says so" if named else "it is the last column that could be"
    wishes.say("target", f"{guess.raw}, since {why}; another by --target COLUMN")
    return guess


def _may_be_target(column: Column, useless: Mapping[str, str], task: str) -> bool:
    if column.name in useless or column.kind in ("timestamp", "text"):
        return False
    if column.kind == "category":
        return column.distinct <= MAX_CLASSES and task not in NUMERIC
    return column.distinct > 1 and not ID_NAME.search(column.name)


def _task(target: Column, wishes: Wishes, series: Series | None) -> Task:
    """The task, as said or as the values of the target make likely."""
    if target.distinct < 2:  # noqa: PLR2004 - a constant
        raise HeadraceError(
            "the target is constant" if target.distinct else "the target has no value",
            where=target.raw,
            expected="at least two different values",
            found=f"{', '.join(target.examples) or 'nothing'} in {target.present:,} rows",
            fix="name another --target, or give files in which it varies",
        )
    task = _likely_task(target, series) if wishes.task == "auto" else wishes.task
    _check_fit(target, task)
    reasons = {
        "binary": f"{target.raw} has two values",
        "multiclass": f"{target.raw} has {target.distinct} values",
        "regression": f"{target.raw} is a number with {target.distinct:,} values",
        "forecast": f"{target.raw} has one value per date",
    }
    wishes.say(
        "task", f"{task}: {reasons[task] if wishes.task == 'auto' and target.kind != 'timestamp' else 'as you said'}"
    )
    if target.kind == "timestamp":
        wishes.said[-1] = ("task", f"{task}: {target.raw} is a date, so the days since its earliest are predicted")
    return task  # type: ignore[return-value]  # checked against TASKS


def _likely_task(target: Column, series: Series | None) -> str:
    if target.distinct == 2:  # noqa: PLR2004
        return "binary"
    if target.kind == "timestamp":
        return "regression"
    if not target.is_numeric:
        return "multiclass"
    if series is not None and target.distinct > _INTEGER_CLASSES:
        return "forecast"
    few = target.distinct <= _INTEGER_CLASSES and target.distinct * _ROWS_PER_CLASS <= target.present
    return "multiclass" if target.is_whole and few else "regression"


def _check_fit(target: Column, task: str) -> None:
    """Refuse a task that the target's values can't have."""
    few = f"{target.distinct:,} values in {target.present:,} rows, such as {', '.join(target.examples[:3])}"
    expected = fix = ""
    if task == "binary" and target.distinct != 2:  # noqa: PLR2004
        expected, fix = "two values", "choose --task multiclass or regression"
    elif task in CLASSIFICATION and target.kind == "timestamp":
        expected, fix = "classes", "choose --task regression: it predicts the days since the first"
    elif task == "multiclass" and target.distinct > MAX_CLASSES:
        expected = f"at most {MAX_CLASSES} classes"
        fix = "choose --task regression" if target.is_numeric else "name another --target; this one is mostly free text"
    elif task in NUMERIC and not target.is_numeric and not (task == "regression" and target.kind == "timestamp"):
        expected, fix = "numbers", "choose --task binary or multiclass, or another --target"
    if expected:
        raise HeadraceError(
            f"the target doesn't fit the task {task}", where=target.raw, expected=expected, found=few, fix=fix
        )


def find_label(profile: Profile, target: Column | None, task: Task, wishes: Wishes) -> Label:
    """The label that a target makes.

    Raises:
        HeadraceError: fewer than two classes have enough rows.
    """
    if target is None or task == "clustering":
        return Label("", "", f"Groups in {', '.join(profile.files[:3])}", profile.rows)
    if target.nulls:
        wishes.say("target", f"{target.nulls:,} rows have none: they stay, and neither train nor test")
    if task == "binary":
        return _binary(profile, target, wishes)
    if task == "multiclass":
        return _multiclass(profile, target, wishes)
    field = quoted(target.name)
    if target.kind == "timestamp":
        first, _ = span(profile.con, target)
        if first is None:
            raise HeadraceError(
                "the target has no date of our era",
                where=target.raw,
                expected="dates from year 1 to 9999",
                found=", ".join(target.examples[:3]),
                fix="name another --target",
            )
        sql = f"(epoch({field}) - epoch(timestamp {literal(str(first))})) / 86400.0"
        return Label(sql, f"days from {first:%Y-%m-%d} to {target.raw}", f"When is {target.raw}?", target.present)
    row = profile.con.execute(f"select min(abs({field}::double)) from typed").fetchone()
    title = f"Forecast of {target.raw}" if task == "forecast" else f"How large is {target.raw}?"
    return Label(f"{field}::double", target.raw, title, target.present, least=float(row[0]) if row else 0.0)


def _binary(profile: Profile, target: Column, wishes: Wishes) -> Label:
    """Which of two values is the positive class: by what the values say, else the rarer one."""
    field = quoted(target.name)
    rows = profile.con.execute(
        f"select {field}::varchar, count(*) from typed where {field} is not null group by 1 order by 2, 1"
    ).fetchall()
    counts = {str(value): int(count) for value, count in rows}
    rarer, other = counts
    by_word = {value.lower(): value for value in counts}
    named = [by_word[word] for word in _POSITIVE if word in by_word]
    named += [rarer if by_word[word] == other else other for word in _NEGATIVE if word in by_word]
    if target.is_numeric:
        positive, why = max(counts, key=float), "the larger number"
    elif named:
        positive, why = named[0], "what the values say"
    else:
        positive, why = rarer, "the rarer of the two"
        chosen = wishes.ask(f"Which {target.raw} is the one to find?", [other, rarer], rarer)
        positive, why = chosen, why if chosen == rarer else "as you said"
    share = counts[positive] / target.present
    wishes.say("target", f"positive is {target.raw} = {positive} ({why}): {share:.1%} of the rows that have a target")
    value = positive if target.is_numeric or target.kind == "boolean" else literal(positive)
    return Label(
        f"{field} = {value}", f"{target.raw} is {positive}", f"Is {target.raw} {positive}?", target.present, 2, share
    )


def _multiclass(profile: Profile, target: Column, wishes: Wishes) -> Label:
    """Classes as text; those with too few rows for each part of a split have no label."""
    field = quoted(target.name)
    text = f"{field}::bigint::varchar" if target.is_whole else f"{field}::varchar"
    rows = profile.con.execute(
        f"select {text}, count(*) from typed where {field} is not null group by 1 order by 1"
    ).fetchall()
    kept = [str(value) for value, count in rows if count >= MIN_CLASS_ROWS]
    rare = [(str(value), int(count)) for value, count in rows if count < MIN_CLASS_ROWS]
    if len(kept) < 2:  # noqa: PLR2004
        raise HeadraceError(
            "there is nothing to tell apart",
            where=target.raw,
            expected=f"two classes with at least {MIN_CLASS_ROWS} rows",
            found=shortened([f"{value}: {count}" for value, count in rows]),
            fix="give more rows, or name another --target",
        )
    if rare:
        gone = shortened([f"{value} ({count} rows)" for value, count in rare], 6)
        wishes.say("target", f"too few rows for each part of a split, so these get no label: {gone}")
        text = f"case when {text} in ({', '.join(literal(value) for value in kept)}) then {text} end"
    lost = sum(count for _, count in rare)
    return Label(text, f"which {target.raw}", f"Which {target.raw} is it?", target.present - lost, len(kept))
