"""Which period each file is: where the files are named by periods and a time in their rows fills these."""

from assets.naming import literal
from assets.raw.coverage import Every, Period, Seen, count_seen, moment_of, parse_period, period_kind
from assets.spec import COUNTED, CoverageSpec
from orchestration.new.names import batch_of
from orchestration.new.profile import Profile
from orchestration.new.wishes import Wishes

_MAX_OUTSIDE = 0.01
_EVERY: tuple[Every, ...] = ("hour", "day", "month")  # the finest that is filled is expected of later files, too


def find_coverage(profile: Profile, pattern: str, wishes: Wishes) -> CoverageSpec | None:
    """What to expect of each file: rows in nearly every hour, day or month of its period.

    The newest of several files may still be in part; that it is will be said of it.
    """
    batches = [batch_of(pattern, file) for file in profile.files]
    kinds = {period_kind(batch) for batch in batches}
    kind = kinds.pop()
    if kind is None or kinds:
        return None
    periods = {batch: period for batch in batches if (period := parse_period(batch, kind)) is not None}
    batch_of_file = f"[{', '.join(literal(batch) for batch in batches)}][headrace_file + 1]"
    relation = f"(select {batch_of_file} as batch_id, * from loaded)"
    for column in profile.columns:
        if column.raw_type not in ("DATE", "TIMESTAMP", "TIMESTAMPTZ"):
            continue
        for every in _EVERY[column.raw_type == "DATE" :]:
            if every not in COUNTED[kind]:
                continue
            moment = moment_of(column.raw, column.raw_type)
            found = CoverageSpec(column=column.raw, period=kind, every=every)
            if _fills(count_seen(profile.con, relation, moment, every, periods), periods, found):
                wishes.say("files", f"each holds one {kind}: {column.raw} has rows in nearly every {every} of it")
                return found
    return None


def _fills(seen: dict[str, Seen], periods: dict[str, Period], declared: CoverageSpec) -> bool:
    newest = max(periods, key=lambda batch: periods[batch].first)
    whole = [batch for batch in periods if batch != newest] or [newest]
    if min(periods[batch].count(declared.every) for batch in periods) < 2:  # noqa: PLR2004 - one has no parts
        return False
    strays = sum(item.without + item.outside for item in seen.values())
    return strays <= _MAX_OUTSIDE * sum(item.rows for item in seen.values()) and all(
        seen[batch].parts / periods[batch].count(declared.every) >= declared.min_share for batch in whole
    )
