"""What product the profiled files make, and why: task, target, key, time, split, features and what is left out."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from assets.errors import HeadraceError
from assets.naming import quoted
from assets.spec import CoverageSpec
from assets.tasks import TASKS, Task
from orchestration.new.coverage import find_coverage
from orchestration.new.names import is_name
from orchestration.new.profile import ID_NAME, Column, Profile
from orchestration.new.series import Series
from orchestration.new.strength import strengths
from orchestration.new.target import Label, find_label, find_target
from orchestration.new.times import find_split, find_time, require_series, time_parts
from orchestration.new.wishes import Wishes, no_column

MIN_ROWS = 50
LEAK = 0.98  # from this strength on a single column nearly determines the target
_STRONG = 0.85
_TINY, _WIDE = 1000, 100
_FEW_CATEGORIES = 50
_COMMON = 20  # rows of a value that teach something of it
_NEARLY_EMPTY = 0.95
_MAX_DOUBLE_KEYS = 0.01
_MANY_IDS, _MOST_IDS, _FEW_ROWS = 0.5, 0.8, 20
_COUNTER_NAME = re.compile(r"^(unnamed_\d+|column_\d+|index|level_\d+|rownames|row_name|row|rows|n_?|obs|no|nr)_?$")
_TAKEN_TABLES = ("labels", "quarantine")


@dataclass(frozen=True)
class Feature:
    """One input: its column, and how a model sees it."""

    column: Column
    fitted: str = ""  # kind of transform that is made of it
    keep: bool = True  # whether a model sees it untransformed, too
    parts: tuple[str, ...] = ()  # of a time

    @property
    def is_seen(self) -> bool:
        """Whether a model sees anything of it."""
        return bool(self.parts or self.column.kind != "timestamp")


@dataclass(frozen=True)
class Conclusions:
    """Everything that is written, and the sentences that say why."""

    name: str
    profile: Profile
    pattern: str  # of the files' names
    coverage: CoverageSpec | None  # which period each file is
    task: Task
    target: Column | None
    label: Label
    key: tuple[Column, ...]  # empty: batch and row number
    time: Column | None
    series: Series | None  # of a forecast
    strategy: str
    features: tuple[Feature, ...]
    lagged: tuple[Column, ...]  # of a forecast: numbers known only afterwards, used as they were
    left_out: Mapping[str, str]  # column -> why
    leaks: tuple[str, ...]
    said: tuple[tuple[str, str], ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        """All columns of the cleaned model; a time that was made of another column is the last."""
        made = () if self.time is None or self.time in self.profile.columns else (self.time,)
        return (*self.profile.columns, *made)

    @property
    def is_tiny(self) -> bool:
        """Whether parts must be larger shares to say anything."""
        return self.label.rows < _TINY

    @property
    def is_wide(self) -> bool:
        """Whether rows have very many features."""
        return len(self.features) > _WIDE


def check_name(name: str) -> None:
    """Refuse a product name that can't name a YAML, a table and a folder.

    Raises:
        HeadraceError: it can't; proposes one that can.
    """
    if is_name(name) and name not in _TAKEN_TABLES:
        return
    proposal = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    if not is_name(proposal) or proposal in _TAKEN_TABLES:
        proposal = f"product_{proposal}".rstrip("_")[:63]
    raise HeadraceError(
        "this can't be the name of a product",
        where=name,
        expected=f"small letters, digits and _, a letter first, at most 63; not {' or '.join(_TAKEN_TABLES)}",
        fix=f"headrace new {proposal} ...",
    )


def conclude(name: str, profile: Profile, pattern: str, wishes: Wishes) -> Conclusions:
    """Decide everything that the product's files need.

    Raises:
        HeadraceError: a wish can't be met, or there is nothing to learn; says what to do.
    """
    if wishes.task not in ("auto", *TASKS):
        raise HeadraceError(
            "unknown task", where="--task", expected=f"auto, {', '.join(TASKS)}", found=wishes.task, fix="name one"
        )
    _say_files(profile, wishes)
    coverage = find_coverage(profile, pattern, wishes)
    useless = {column.name: why for column in profile.columns if (why := _why_useless(column))}
    time, series = find_time(profile, wishes, useless)
    target, task = find_target(profile, wishes, useless, series)
    if target is not None:
        columns = tuple(target if column.name == target.name else column for column in profile.columns)
        profile = replace(profile, columns=columns)
    series = require_series(profile, wishes, series) if task == "forecast" else None
    label = find_label(profile, target, task, wishes)
    _check_enough(label, target)
    key = _key(profile, wishes, series, target)
    if series is None:
        time, strategy = find_split(profile, pattern, wishes, time, target, task)
    else:
        strategy = "temporal"
        wishes.say("split", f"temporal: the last fifth of {series.time.raw} is the test, until a later file is one")
        wishes.say(
            "time", f"{series.step.name}, asked for {series.step.horizon} ahead: no feature is younger than that"
        )
    left_out = dict(useless) | _roles(profile, target, key, time, series, task)
    candidates = [column for column in profile.columns if column.name not in left_out]
    leaks = (
        {}
        if target is None or series is not None or not label.sql
        else _leaks(profile, candidates, label, task, wishes)
    )
    kept = [column for column in candidates if column.name not in leaks]
    left_out |= leaks
    features = tuple(_feature(profile, column, task) for column in kept) if series is None else ()
    if series is not None:
        features = tuple(Feature(column) for column in series.entities)
    elif not any(item.is_seen for item in features) and not (
        time is not None and time_parts(profile, time, is_event=True)
    ):
        raise HeadraceError(
            "there is nothing to learn from: no feature is left",
            where=", ".join(profile.files),
            expected="a column beside target and key that is neither constant, an identifier nor a leak",
            found="; ".join(f"{column}: {why}" for column, why in list(left_out.items())[:8]) or "no other column",
            fix="give files with more columns, or name another --target",
        )
    return Conclusions(
        name=name, profile=profile, pattern=pattern, coverage=coverage, task=task, target=target, label=label,
        key=key, time=time, series=series, strategy=strategy, features=features,
        lagged=tuple(column for column in kept if column.is_numeric) if series is not None else (),
        left_out=left_out, leaks=tuple(leaks), said=tuple(wishes.said),
    )  # fmt: skip


def _say_files(profile: Profile, wishes: Wishes) -> None:
    written = ", ".join(f"{name} {value!r}" for name, value in profile.csv.model_dump(exclude_defaults=True).items())
    if written:
        wishes.say("files", f"how they are written: {written}")
    if profile.rejected:
        wishes.say("files", f"{profile.rejected:,} rows have another number of fields; they will be quarantined")
    texts = [repr(text) for text in profile.nulls if text]
    if texts:
        wishes.say("files", f"{', '.join(texts)}: read as no value")


def _why_useless(column: Column) -> str:
    """Why a column can teach nothing; empty if it may."""
    named = ID_NAME.search(column.name) is not None
    is_flag = column.kind == "category" and column.nulls  # one value or none
    many = column.present > _FEW_ROWS
    reasons = {
        "no value in any row": not column.present,
        f"nearly empty: {column.null_share:.1%} of the rows have no value": column.null_share > _NEARLY_EMPTY,
        f"constant: always {next(iter(column.examples), '')}": column.distinct == 1 and not is_flag,
        "identifier-like: counts the rows": column.is_counter,
        "identifier-like: named so, and nearly every row has its own": many
        and named
        and column.kind in ("integer", "category")
        and column.distinct > _MANY_IDS * column.present,
        "identifier-like: nearly every row has its own value": many
        and column.kind == "category"
        and column.distinct > _MOST_IDS * column.present,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _check_enough(label: Label, target: Column | None) -> None:
    if label.rows < MIN_ROWS:
        raise HeadraceError(
            "there are too few rows to learn from",
            where=target.raw if target is not None else "",
            expected=f"at least {MIN_ROWS} rows{' with a target' if target is not None else ''}",
            found=f"{label.rows}",
            fix="give more files, or files with more rows",
        )


def _key(profile: Profile, wishes: Wishes, series: Series | None, target: Column | None) -> tuple[Column, ...]:
    """The columns that name a row; none: batch and row number do."""
    if wishes.key:
        return _asked_key(profile, wishes)
    if series is not None:
        wishes.say("key", f"{', '.join(item.raw for item in (*series.entities, series.time))}: one row each")
        return (*series.entities, series.time)
    for column in profile.columns:
        is_id = ID_NAME.search(column.name) and not _COUNTER_NAME.fullmatch(column.name)
        if is_id and column.is_unique and column.kind in ("integer", "category") and column is not target:
            wishes.say("key", f"{column.raw}: it is named so, and every row has its own")
            return (column,)
    wishes.say("key", "none found: a row is named by its batch and row number; name one by --key COLUMN")
    return ()


def _asked_key(profile: Profile, wishes: Wishes) -> tuple[Column, ...]:
    key: list[Column] = []
    for item in wishes.key:
        column = profile.column(item)
        if column is None:
            raise no_column(profile, "--key", item)
        key.append(column)
    nulls = sum(column.nulls for column in key)
    fields = ", ".join(quoted(column.name) for column in key)
    row = profile.con.execute(f"select count(*) from (select distinct {fields} from typed)").fetchone()
    double = profile.rows - int(row[0] if row else 0)
    if nulls or double > _MAX_DOUBLE_KEYS * profile.rows:
        raise HeadraceError(
            "these columns don't name a row",
            where=f"--key {' '.join(column.raw for column in key)}",
            expected="a value in every row, and no two rows alike",
            found=f"{nulls:,} without a value, {double:,} rows with the key of another",
            fix="add a column to the key, or leave --key out: rows are then named by batch and row number",
        )
    again = f"; of {double:,} rows with the key of another the first counts" if double else ""
    wishes.say("key", f"{', '.join(column.raw for column in key)}, as you said{again}")
    return tuple(key)


def _roles(
    profile: Profile,
    target: Column | None,
    key: Sequence[Column],
    time: Column | None,
    series: Series | None,
    task: Task,
) -> dict[str, str]:
    """Columns that have another role than feature, or can't be one in this task."""
    found: dict[str, str] = {}
    for column in profile.columns:
        if series is not None and not column.is_numeric:
            found[column.name] = "not known when the forecast is asked for"
        elif task == "clustering" and column.kind in ("text", "timestamp"):
            found[column.name] = f"a {column.kind} has no distance"
        if column in key:
            found[column.name] = "the key"
        if time is not None and column.raw == time.raw:
            found[column.name] = "the time; its parts are features"
        if column is target:
            found[column.name] = "kept out, as you said" if task == "clustering" else "the target"
    return found


def _leaks(profile: Profile, columns: list[Column], label: Label, task: Task, wishes: Wishes) -> dict[str, str]:
    """Columns that alone nearly determine the target, with the reason; someone who knows better may keep them."""
    found = strengths(profile.con, columns, label.sql, task, profile.rows)
    measure = {"binary": "ROC AUC", "multiclass": "share of errors avoided"}.get(task, "correlation")
    share = label.positive_share
    evidence = label.rows * (min(share, 1 - share) if task == "binary" else 0.5)
    leaks: dict[str, str] = {}
    for column in columns:
        strength = found.get(column.name, 0.0)
        if not _is_leak(strength, task, evidence):
            continue
        question = f"{column.raw} alone nearly determines the target ({measure} {strength:.3f}). Is it known before?"
        if wishes.ask(question, ["no", "yes"], "no") == "yes":
            continue
        leaks[column.name] = f"leak: alone it nearly determines the target ({measure} {strength:.3f})"
        wishes.say("leak", f"{column.raw} is left out: {leaks[column.name].removeprefix('leak: ')}")
    kept = {column: found.get(column.name, 0.0) for column in columns if column.name not in leaks}
    best = max(kept, key=lambda column: kept[column], default=None)
    if best is not None and kept[best] > _STRONG:
        wishes.say(
            "leak", f"{best.raw} alone is strong ({measure} {kept[best]:.3f}): be sure that it is known beforehand"
        )
    return leaks


def _is_leak(strength: float, task: Task, evidence: float) -> bool:
    """Whether a column nearly determines the target; of few rows it must be more sure.

    Of shares (AUC, accuracy) two standard errors are taken off, of `evidence` rows (of the rarer class).
    """
    if task == "regression":
        return strength >= LEAK
    error = (strength * (1 - strength) / max(evidence, 1)) ** 0.5
    return strength >= LEAK and strength - 2 * error >= LEAK - 0.01


def _feature(profile: Profile, column: Column, task: Task) -> Feature:
    if column.kind == "text":
        return Feature(column, fitted="text", keep=False)
    if column.kind == "timestamp":
        return Feature(column, parts=time_parts(profile, column, is_event=False))
    if column.kind == "category" and column.distinct > _FEW_CATEGORIES and task != "clustering":
        common = profile.con.execute(
            f"select count(*) from (select 1 from typed where {quoted(column.name)} is not null "
            f"group by {quoted(column.name)} having count(*) >= {_COMMON})"
        ).fetchone()
        return Feature(column, fitted="frequency", keep=bool(common and common[0]))
    return Feature(column)
