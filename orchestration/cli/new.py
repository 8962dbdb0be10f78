"""`headrace new`: what it says and asks; the work is in `orchestration/new`."""

from collections.abc import Sequence
from pathlib import Path

import duckdb

from assets.errors import HeadraceError
from assets.files import spill_directory
from assets.settings import Settings
from orchestration.cli.console import out, table
from orchestration.new.conclude import Conclusions, check_name, conclude
from orchestration.new.names import file_pattern
from orchestration.new.plain import plain_file
from orchestration.new.profile import profile_files
from orchestration.new.questions import ask_nobody, ask_person
from orchestration.new.spec_file import inputs_of
from orchestration.new.wishes import Wishes
from orchestration.new.write import ensure_free, write_product

_MOST_SHOWN = 60


def new(
    settings: Settings,
    name: str,
    files: Sequence[Path],
    target: str = "",
    task: str = "auto",
    time: str = "",
    key: Sequence[str] = (),
    yes: bool = False,
) -> None:
    """Profile files, say what was concluded and why, and write the product.

    Args:
        settings: where products, dbt project and home are.
        name: the product.
        files: its first deliveries.
        target: column to predict; empty: found by name or place.
        task: one of `assets.tasks.TASKS`, or auto.
        time: column with the time of a row.
        key: columns that name a row.
        yes: never ask.

    Raises:
        HeadraceError: the files are no product, or the name is taken; nothing is written then.
    """
    check_name(name)
    ensure_free(settings, name)
    if not files:
        raise HeadraceError(
            "there is no file", product=name, expected="--from FILE", fix="name the files to learn from"
        )
    plain = [plain_file(file, settings.home / "converted" / name) for file in files]
    for file, item in zip(files, plain, strict=True):
        if item.changes:
            out.print(f"{file.name}: {'; '.join(item.changes)}; `headrace land` does the same", markup=False)
    pattern, why = file_pattern([item.path.name for item in plain])
    wishes = Wishes(target, task, time, tuple(key), ask_nobody if yes else ask_person)
    wishes.say("files", why)
    config = {"threads": str(settings.threads), "temp_directory": spill_directory(settings.home / "converted")}
    with duckdb.connect(config=config) as con:  # type: ignore[arg-type]
        found = conclude(name, profile_files(con, plain, settings), pattern, wishes)
        _say(found)
        written = write_product(settings, found)
    for path in written:
        out.print(f"wrote {path}", markup=False, soft_wrap=True)
    listed = " ".join(_shell(path) for path in files)
    out.print(f"\nNext: headrace land {name} {listed}\n      headrace run {name}", markup=False, soft_wrap=True)


def _say(found: Conclusions) -> None:
    """The columns and what became of each, then every conclusion with its reason."""
    used = inputs_of(found)
    rows = []
    for column in found.columns:
        role = found.left_out.get(column.name, "")
        if column is found.time:
            role = "the time of a row"
        elif not role or column.name in used:
            role = f"feature, {column.kind}" + (f" ({role})" if role else "")
        notes = [*column.notes, *([f"{column.outliers:,} far out"] if column.outliers else [])]
        nulls = f"{column.null_share:.1%}" if column.nulls else ""
        rows.append(
            (column.raw, column.name, column.raw_type, f"{column.distinct:,}", nulls, "; ".join([role, *notes]))
        )
    title = f"{found.name}: {found.profile.rows:,} rows, {len(found.profile.columns)} columns"
    table(title, ("column", "as", "type", "values", "missing", "what it is"), rows[:_MOST_SHOWN])
    if len(rows) > _MOST_SHOWN:
        out.print(f"and {len(rows) - _MOST_SHOWN} more columns, see the YAML\n")
    for topic, sentence in found.said:
        out.print(f"  {topic:<7} {sentence}", markup=False, soft_wrap=True)
    if found.profile.duplicates:
        out.print(f"  rows    {found.profile.duplicates:,} repeat another row", markup=False)
    out.print()


def _shell(path: Path) -> str:
    import shlex

    return shlex.quote(str(path))
