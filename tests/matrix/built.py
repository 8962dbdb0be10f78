"""Run a product's dbt models in DuckDB without dbt: its own macros, rendered by Jinja, on the profiled rows."""

from typing import Any

import duckdb
import jinja2

from assets.naming import literal, quoted
from assets.settings import CHECKOUT
from orchestration.new.conclude import Conclusions
from orchestration.new.models import models

_MACROS = "".join((CHECKOUT / "dbt_project" / "macros" / name).read_text() for name in ("new_batches.sql",))


def build(found: Conclusions) -> tuple[duckdb.DuckDBPyConnection, str, str | None]:
    """The tables of a new product; the names of its feature and label tables (None for a clustering)."""
    con, name = found.profile.con, found.name
    raw = ", ".join(quoted(column.raw) for column in found.profile.columns)
    con.execute(
        "create or replace table raw_table as "
        f"select 'b' || headrace_file as batch_id, headrace_row as row_number, {raw} from loaded"
    )
    con.execute("attach if not exists ':memory:' as memory")
    con.execute(
        f"""create or replace table memory.main.counted_batches as
        select distinct {literal(name)} as source, batch_id, 'content' as content_id from raw_table"""
    )
    tables = {f"{name}_cleaned": "made_cleaned", f"{name}_features": "made_features", f"{name}_labels": "made_labels"}
    made = models(found)
    for suffix in ("cleaned", "features", "labels"):
        text = next((text for path, text in made.items() if path.endswith(f"{name}_{suffix}.sql")), None)
        if text is not None:
            con.execute(f"create or replace table made_{suffix} as {_rendered(text, tables)}")
    return con, "made_features", "made_labels" if found.task != "clustering" else None


def _rendered(text: str, tables: dict[str, str]) -> str:
    context: dict[str, Any] = {
        "config": lambda **_: "",
        "source": lambda *_: "raw_table",
        "ref": tables.__getitem__,
        "is_incremental": lambda: False,
        "target": {"database": "lake"},
        "this": "",
    }
    environment = jinja2.Environment(autoescape=False, extensions=["jinja2.ext.do"])  # noqa: S701 - SQL, not HTML
    return environment.from_string(_MACROS + text).render(context)
