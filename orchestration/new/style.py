"""How the numbers of delimited files are written, told by all of their rows."""

from collections.abc import Sequence
from typing import Any

import duckdb

from assets.naming import literal

# thousands are grouped or not, and a comma stands before decimals; or a comma stands before each three digits
_COMMA_DECIMAL = r"[+-]?([0-9]+|[1-9][0-9]{0,2}([. ''][0-9]{3})+)?(,[0-9]+)?"
_COMMA_THOUSANDS = "[+-]?[1-9][0-9]{0,2}(,[0-9]{3})+"
_SEPARATORS = (".", " ", "'")


def number_style(con: duckdb.DuckDBPyConnection, texts: Sequence[str]) -> dict[str, str]:
    """The fields `decimal` and `thousands` of a `CsvSpec`, where commas stand before decimals; else nothing.

    A column is evidence when all its texts are such numbers and not each comma could stand before thousands as well
    (`1,838`). A column of numbers with a point before decimals is evidence against it: then texts stay texts.

    Args:
        con: has the table `raw`.
        texts: SQL of each column's texts, null where there is no value.
    """
    separators: set[str] = set()
    is_decimal = False
    for text in texts:
        is_grouped, has_comma, is_thousands, is_point, *seen = _facts(con, text)
        if is_point and not is_grouped:
            return {}
        if is_grouped:
            is_decimal = is_decimal or bool(has_comma and not is_thousands)
            separators.update(sign for sign, is_there in zip(_SEPARATORS, seen, strict=True) if is_there)
    if not is_decimal or len(separators) > 1:
        return {}
    return {"decimal": ",", **({"thousands": separators.pop()} if separators else {})}


def _facts(con: duckdb.DuckDBPyConnection, text: str) -> Sequence[Any]:
    separators = ", ".join(f"bool_or(contains(v, {literal(sign)}))" for sign in _SEPARATORS)
    return (
        con.execute(
            f"""select
                bool_and(regexp_full_match(v, '{_COMMA_DECIMAL}') and regexp_matches(v, '[0-9]')),
                bool_or(contains(v, ',')),
                bool_and(regexp_full_match(v, '{_COMMA_THOUSANDS}')) filter (contains(v, ',')),
                bool_and(try_cast(v as double) is not null) and bool_or(contains(v, '.')), {separators}
            from (select {text} as v from raw) where v is not null"""
        ).fetchone()
        or ()
    )
