"""From changes as text to a batch in the lake: hold them against the contract, write one file, commit it.

A snapshot and a batch of changes end here alike. What is a good value is decided by the reader of files; where the
changes come from is not here.
"""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, cast

import duckdb

from assets import ledger
from assets.errors import HeadraceError
from assets.files import own_path
from assets.home import Home
from assets.kill_points import kill_point
from assets.naming import literal, quoted
from assets.raw.commit import OvertakenError, commit_delivery, contract_columns
from assets.raw.postgres.pgoutput import Changes, Column
from assets.raw.postgres.table import Table
from assets.raw.reader.columns import ColumnPlan, plan_columns
from assets.raw.reader.protocol import (
    QUARANTINE_COLUMNS,
    QUARANTINE_FILE,
    ROWS_FILE,
    FoundChange,
    ReadRequest,
    RefusedFileError,
    rows_files,
)
from assets.raw.reader.typed import copy_to, write_typed
from assets.records import Batch, SchemaChange
from assets.spec import ColumnType, ProductSpec, SourceSpec

# columns of a raw table of changes: what happened, where its transaction was committed, and its number there
CHANGE_COLUMNS = {"headrace_change": "VARCHAR", "headrace_lsn": "UBIGINT", "headrace_sequence": "BIGINT"}
# what a column that the spec doesn't name becomes, by the OID of its type; of other types the text is kept
_TYPES: dict[int, ColumnType] = {
    16: "BOOLEAN",
    20: "BIGINT",
    21: "BIGINT",
    23: "BIGINT",
    700: "DOUBLE",
    701: "DOUBLE",
    1082: "DATE",
    1114: "TIMESTAMP",
    1184: "TIMESTAMPTZ",
}
_NUMERIC = 1700
# a double keeps so many digits
_DIGITS = 15


@dataclass
class Delivery:
    """Changes on their way to the lake: they are collected in a folder, then `load` makes them a batch.

    Args:
        home: where the lake is.
        spec: the product.
        table: what the changes are of.
        is_snapshot: whether a missing column is refused; later on it is a column that was dropped, and its values null.
    """

    home: Home
    spec: ProductSpec
    table: Table
    is_snapshot: bool = False
    rows: int = 0
    size_bytes: int = 0
    _parts: dict[tuple[tuple[Column, ...], bool], list[Path]] = field(default_factory=dict)
    _digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    _folder: Path | None = None

    def __enter__(self) -> Self:
        self._folder = own_path(self.home.lake(self.spec.product).staging, "changes")
        self._folder.mkdir(parents=True)
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def folder(self) -> Path:
        """Where its files are, below the lake's folder."""
        if self._folder is None:
            raise RuntimeError("a delivery is used as a context")
        return self._folder

    def sign(self, content: bytes) -> None:
        """Count bytes as part of what was delivered."""
        self._digest.update(content)
        self.size_bytes += len(content)

    def add(self, changes: Changes) -> None:
        """Put changes aside."""
        parts = self._parts.setdefault((changes.columns, changes.is_key_alone), [])
        path = self.folder / f"part-{sum(map(len, self._parts.values()))}.parquet"
        changes.rows.write_parquet(path, compression="zstd", compression_level=1)
        parts.append(path)
        self.rows += changes.rows.height

    def load(
        self, batch_id: str, file_name: str, point: str, guard: Callable[[duckdb.DuckDBPyConnection], None]
    ) -> Batch:
        """Commit what was collected as a batch, exactly once.

        Args:
            batch_id: the batch.
            file_name: what the ledger calls the delivery.
            point: start of the names of the kill points around the commit.
            guard: refuses in the commit's transaction (`slot.turn_kept`).

        Raises:
            HeadraceError: the contract doesn't allow the table's columns or a value, or another process has loaded in
                between; nothing was loaded.
        """
        lake, source = self.home.lake(self.spec.product), self.spec.source
        batch = Batch(
            source=self.spec.product,
            batch_id=batch_id,
            file_name=file_name,
            sha256=self._digest.hexdigest(),
            size_bytes=self.size_bytes,
            status="LOADED",
            rows_in=self.rows,
            loaded_at=ledger.now(),
        )
        with lake.connect() as con:
            columns = cast("dict[str, ColumnType]", contract_columns(con, self.spec.product, source))
        try:
            loaded, quarantined, typed = self._write(batch, columns)
        except RefusedFileError as error:
            raise HeadraceError(
                f"{error.what} (a table's change is refused as a file would be)",
                product=self.spec.product,
                where=f"PostgreSQL table {self.table.schema}.{self.table.name}, batch {batch_id}"
                + (f", {error.where}" if error.where and error.where != "header" else ""),
                expected=error.expected,
                found=error.found,
                fix="change the table, or columns and contract in the product's spec, then run again: nothing was "
                "loaded, and the server keeps the changes",
            ) from None
        kill_point(f"{point}.commit.before")
        try:
            done = commit_delivery(
                lake,
                batch.model_copy(update={"rows_loaded": loaded, "rows_quarantined": quarantined}),
                rows_files(self.folder),
                self.folder / QUARANTINE_FILE if quarantined else None,
                {**typed.columns, **CHANGE_COLUMNS},
                [
                    SchemaChange(
                        source=batch.source, batch_id=batch_id, delivery_id=batch.delivery_id, **change.model_dump()
                    )
                    for change in dict.fromkeys(typed.changes)
                ],
                guard=guard,
            )
        except OvertakenError as error:
            raise HeadraceError(
                "the batch is there with other content: another process, or a run of an older lake, has loaded it",
                product=self.spec.product,
                where=f"batch {batch_id}",
                found=str(error),
                fix=f"run what waits: headrace run {self.spec.product}; of this load nothing was kept",
            ) from None
        kill_point(f"{point}.commit.after")
        return done

    def _write(self, batch: Batch, columns: dict[str, ColumnType]) -> tuple[int, int, "_Typed"]:
        """Write the batch's files; returns how many rows are good and how many bad."""
        settings = self.home.settings
        config = {
            "memory_limit": f"{settings.read_memory_megabytes}MB",
            "threads": settings.threads,
            "temp_directory": str(self.folder / "spill"),
        }
        with duckdb.connect(config=config) as con:  # type: ignore[arg-type]
            con.execute("set timezone='UTC'")
            typed = self._write_parts(con, batch, columns)
            return *typed.write(self.folder), typed

    def _write_parts(self, con: duckdb.DuckDBPyConnection, batch: Batch, columns: dict[str, ColumnType]) -> "_Typed":
        """Values of all parts as the contract's types, part by part."""
        typed = _Typed(con, batch, dict(columns))
        for number, ((sent, is_key_alone), files) in enumerate(self._parts.items()):
            typed.files += files
            names = [item.name for item in sent]
            if not names:  # of truncates
                continue
            folder = self.folder / f"typed-{number}"
            folder.mkdir()
            contract = _contract_of(self.spec.source, self.table.key, is_key_alone=is_key_alone)
            request = ReadRequest(
                path="",
                folder=str(folder),
                file_name=batch.file_name,
                source=batch.source,
                batch_id=batch.batch_id,
                delivery_id=batch.delivery_id,
                contract=contract,
                columns=typed.columns,
            )
            fields = ", ".join(quoted(name) for name in ("headrace_row", *names))
            plan = _plan(names, request, is_key_alone=is_key_alone, is_snapshot=self.is_snapshot)
            written = write_typed(
                con,
                f"select {fields} from read_parquet({_listed(files)})",
                plan,
                request,
                types={item.name: _type_of(item) for item in sent},
            )
            typed.columns = {**typed.columns, **written.columns}
            typed.changes += written.changes
            typed.folders.append(folder)
        return typed


@dataclass
class _Typed:
    """Parts of a batch that were held against the contract, to become its one file of rows and one of quarantine."""

    con: duckdb.DuckDBPyConnection
    batch: Batch
    columns: dict[str, ColumnType]
    changes: tuple[FoundChange, ...] = ()
    files: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)

    def write(self, folder: Path) -> tuple[int, int]:
        """Write rows.parquet and quarantine.parquet in the order of the changes; returns how many rows each has."""
        quarantine = [item / QUARANTINE_FILE for item in self.folders if (item / QUARANTINE_FILE).exists()]
        fields = ", ".join(QUARANTINE_COLUMNS)
        quarantined = (
            copy_to(
                self.con,
                f"select {fields} from read_parquet({_listed(quarantine)}) order by row_number",
                folder / QUARANTINE_FILE,
            )
            if quarantine
            else 0
        )
        loaded = copy_to(self.con, self._rows(), folder / ROWS_FILE) if self.files else 0
        return loaded, quarantined

    def _rows(self) -> str:
        """SQL of the rows that were good, with what happened to each; a truncate is a row without values."""
        empty = {"row_number": "BIGINT", **self.columns, "headrace_rescued": "VARCHAR"}
        none = ", ".join(f"null::{kind} as {quoted(name)}" for name, kind in empty.items())
        good = " union all by name ".join(
            [
                f"select {none} where false",
                *(f"select * from read_parquet({literal(str(item / ROWS_FILE))})" for item in self.folders),
            ]
        )
        values = ", ".join(f"good.{quoted(name)}::{kind} as {quoted(name)}" for name, kind in self.columns.items())
        what = ", ".join(f"change.{name}::{kind} as {name}" for name, kind in CHANGE_COLUMNS.items())
        return f"""
            select {literal(self.batch.batch_id)} as batch_id, change.headrace_row as row_number, {values},
                {literal(self.batch.delivery_id)} as headrace_delivery, good.headrace_rescued, {what}
            from (
                select headrace_row, {", ".join(CHANGE_COLUMNS)} from read_parquet({_listed(self.files)})
            ) as change
            left join ({good}) as good on good.row_number = change.headrace_row
            where good.row_number is not null or change.headrace_change = 'truncate'
            order by change.headrace_row"""


def _listed(files: Sequence[Path]) -> str:
    return f"[{', '.join(literal(str(path)) for path in files)}]"


def _type_of(column: Column) -> ColumnType:
    """The type of raw for a column of the server, whatever values it has by now."""
    if column.type_oid != _NUMERIC or column.modifier < 0:
        return _TYPES.get(column.type_oid, "VARCHAR")
    return "DOUBLE" if (column.modifier - 4) >> 16 <= _DIGITS else "VARCHAR"


def _contract_of(source: SourceSpec, key: tuple[str, ...], *, is_key_alone: bool) -> SourceSpec:
    """What a change is held against: a row must have its key, and a delete has nothing else."""
    required = key if is_key_alone else tuple(dict.fromkeys([*source.required, *key]))
    mode = "rescue" if is_key_alone and source.contract == "evolve" else source.contract
    return source.model_copy(update={"required": required, "contract": mode})


def _plan(names: Sequence[str], request: ReadRequest, *, is_key_alone: bool, is_snapshot: bool) -> ColumnPlan:
    if is_key_alone:
        return ColumnPlan({name: name for name in names}, (), ())
    contract = request.contract
    dropped = (
        []
        if is_snapshot or contract.contract != "rescue"
        else [name for name in contract.columns if name not in names and name not in contract.required]
    )
    if not dropped:
        return plan_columns(names, request)
    kept = {name: kind for name, kind in contract.columns.items() if name not in dropped}
    plan = plan_columns(
        names,
        request.model_copy(update={"contract": contract.model_copy(update={"columns": kept}), "columns": kept}),
    )
    lost = [FoundChange(kind="dropped", column=name, before=name) for name in dropped]
    return ColumnPlan(plan.taken, plan.unknown, (*plan.changes, *lost))
