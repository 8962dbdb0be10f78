"""`headrace sql`: one statement on a product's lake, on a connection that cannot write or leave the lake."""

from typing import Any

import duckdb

from assets.errors import HeadraceError
from assets.home import Home
from assets.settings import Settings
from assets.spec import ProductSpec


def ask(settings: Settings, spec: ProductSpec, query: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Column names and rows.

    Raises:
        HeadraceError: the statement is empty, wrong, or tries to write.
    """
    if not query.strip():
        raise HeadraceError(
            "no statement",
            product=spec.product,
            where="sql",
            fix='headrace sql "select * from ledger.batches", or send one on standard input',
        )
    with Home(settings).lake(spec.product).connect() as con:
        try:
            con.execute("use lake")
            _require_question(con, query)
            answer = con.execute(query)
            columns = [item[0] for item in answer.description or []]
            return columns, answer.fetchall()
        except duckdb.Error as error:
            raise HeadraceError(
                "the lake refused the statement",
                product=spec.product,
                where="sql",
                found=str(error),
                fix="tables are schema.table, for example raw.flights; the connection is read-only",
            ) from None


def _require_question(con: duckdb.DuckDBPyConnection, query: str) -> None:
    """Refuse what is no question: a read-only attach protects tables, but COPY could overwrite the lake's files.

    Raises:
        duckdb.Error: the text doesn't parse, or holds something else than questions.
    """
    for statement in con.extract_statements(query):
        is_plan = statement.type == duckdb.StatementType.EXPLAIN and "analyze" not in statement.query.lower()
        if statement.type != duckdb.StatementType.SELECT and not is_plan:
            raise duckdb.PermissionException(f"{statement.type.name} is not a question")
