"""Which column of a file is which column of the contract: by name, before a value is read.

What the contract's mode allows is decided here for every format alike. Types are no matter of this module: `typed.py`
casts values, infers the types of columns that evolution adds, and records those as `added` and `widened`.
"""

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from assets.naming import literal
from assets.raw.reader.protocol import LEADING, TRAILING, FoundChange, ReadRequest, RefusedFileError
from assets.spec import fold_name

# a table of more columns is nobody's table, and each costs memory in every step behind
MOST_COLUMNS = 2000
_DELIMITERS = (";", "\t", "|", ",")
_MOST_SHOWN = 12


@dataclass(frozen=True)
class ColumnPlan:
    """How a file's columns meet the contract's."""

    taken: dict[str, str]
    """column of the contract (or of an earlier evolution) -> column of the file; missing ones are not in it"""
    unknown: tuple[str, ...]
    """columns of the file that no column of the contract takes, in the file's order"""
    changes: tuple[FoundChange, ...]
    """renamed, rescued and dropped columns"""


def plan_columns(found: Sequence[str], request: ReadRequest) -> ColumnPlan:
    """Match a file's columns with the contract's: by exact name, then by `fold_name`.

    Args:
        found: the file's column names in its order.
        request: the contract with its mode, and the columns that the raw table has already.

    Raises:
        RefusedFileError: a name is empty, unusable or there twice after folding, or the contract's mode does not
            allow a difference; the message names the columns and the likeliest renamed one.
    """
    mode = request.contract.contract
    _check_names(found, may_be_added=mode == "evolve")
    wanted = request.contract.columns if mode == "freeze" else request.columns
    taken = _match(found, wanted, exact=mode == "freeze")
    unknown = tuple(name for name in found if name not in set(taken.values()))
    missing = [name for name in request.contract.columns if name not in taken]
    if mode == "freeze":
        _check_frozen(found, missing, unknown, request)
    needed = [name for name in missing if mode == "rescue" or name in request.contract.required]
    if needed or (missing and not set(request.contract.columns) & set(taken)):
        raise _missing(found, needed or missing, unknown, request)
    changes = [
        FoundChange(kind="renamed", column=name, before=name, after=file_name)
        for name, file_name in taken.items()
        if name != file_name
    ]
    if mode == "rescue":
        changes += [FoundChange(kind="rescued", column=name, after=name) for name in unknown]
    if mode == "evolve":
        changes += [FoundChange(kind="dropped", column=name, before=name) for name in wanted if name not in taken]
    return ColumnPlan(taken, unknown, tuple(changes))


def _match(found: Sequence[str], wanted: Iterable[str], *, exact: bool) -> dict[str, str]:
    """Columns by exact name; of the others those whose folded names are the same."""
    names = set(found)
    rest = {} if exact else {fold_name(name): name for name in found if name not in set(wanted)}
    matches = ((name, name if name in names else rest.get(fold_name(name))) for name in wanted)
    return {name: match for name, match in matches if match is not None}


def _check_names(found: Sequence[str], *, may_be_added: bool) -> None:
    """Refuse names that no table can have, or that two columns share.

    Args:
        found: the file's column names.
        may_be_added: whether unknown columns become columns of the raw table, where some names are taken.
    """
    if not found:
        raise RefusedFileError(
            "the file has no columns", expected="column names", fix="deliver the file again, with its header"
        )
    if len(found) > MOST_COLUMNS:
        raise RefusedFileError(
            "the file has too many columns",
            where="header",
            expected=f"at most {MOST_COLUMNS:,}",
            found=f"{len(found):,}",
            fix="deliver fewer columns, or one row per value",
        )
    nameless = [place for place, name in enumerate(found, start=1) if not name.strip() or "\x00" in name]
    if nameless:
        raise RefusedFileError(
            "a column has no usable name",
            where=f"header, column {nameless[0]}",
            expected="a name for each column",
            found=ascii(found[nameless[0] - 1][:60]),
            fix="name every column (a table written with its row index has a nameless first column: leave it out)",
        )
    ours = {*LEADING, *TRAILING} if may_be_added else set[str]()
    taken = [name for name in found if fold_name(name).startswith("headrace_") or fold_name(name) in ours]
    if taken:
        raise RefusedFileError(
            "a column has a name that the platform uses itself",
            where="header",
            found=shown(taken),
            fix="deliver the file with another name for it",
        )
    counts = Counter(fold_name(name) for name in found)
    twice = [name for name in found if counts[fold_name(name)] > 1]
    if twice:
        raise RefusedFileError(
            "two columns have the same name",
            where="header",
            expected="names that differ in more than upper and lower case or in how Unicode spells a letter",
            found=shown(twice),
            fix="rename or leave out one of them",
        )


def _check_frozen(found: Sequence[str], missing: list[str], unknown: tuple[str, ...], request: ReadRequest) -> None:
    """Refuse any difference of columns; another order is one, too."""
    if missing or unknown:
        raise _missing(found, missing, unknown, request)
    if list(found) != list(request.contract.columns):
        raise RefusedFileError(
            "the columns are in another order than in the frozen contract",
            where="header",
            expected=shown(request.contract.columns),
            found=shown(found),
            fix="deliver them in this order, or set `contract: rescue`, which matches columns by name",
        )


def _missing(
    found: Sequence[str], missing: list[str], unknown: tuple[str, ...], request: ReadRequest
) -> RefusedFileError:
    """The refusal of a file whose columns are not the contract's, with what probably happened."""
    parts = [f"{what} {shown(names)}" for what, names in (("missing", missing), ("unknown", unknown)) if names]
    return RefusedFileError(
        "the columns are not the ones of the file contract",
        where="header",
        expected=shown(request.contract.columns),
        found="; ".join(parts),
        fix=_delimiter_hint(found, request)
        or _renamed_hint(missing, unknown)
        or "deliver the file with these columns, or change `columns:` in the product's spec",
    )


def _delimiter_hint(found: Sequence[str], request: ReadRequest) -> str:
    """What to set when the header is one field that another delimiter would split into columns of the contract."""
    wanted = {fold_name(name) for name in request.contract.columns}
    for delimiter in _DELIMITERS:
        names = {fold_name(name.strip(' "')) for name in found[0].split(delimiter)}
        if len(found) == 1 and len(names) > 1 and names & wanted:
            sign = "\\t" if delimiter == "\t" else delimiter
            return f'the delimiter is probably another one: set source.csv.delimiter: "{sign}" in the product\'s spec'
    return ""


def _renamed_hint(missing: list[str], unknown: tuple[str, ...]) -> str:
    """Which unknown column each missing one has probably become."""
    folded = {_letters(name): name for name in unknown}
    hints = []
    for name in missing:
        near = difflib.get_close_matches(_letters(name), folded, n=1)
        if near:
            # letters of another alphabet look the same: their codes don't
            other = folded[near[0]]
            hints.append(f"{name} is now {shown([other])}{'' if other.isascii() else ' = ' + ascii(other)}")
    if not hints:
        return ""
    return f"perhaps {', '.join(hints[:_MOST_SHOWN])}: deliver the old name, or change `columns:` in the product's spec"


def _letters(name: str) -> str:
    """A name without what people change first: case, blanks and signs between words."""
    return "".join(sign for sign in fold_name(name) if sign.isalnum()) or name


def shown(names: Iterable[str]) -> str:
    """Column names for a message: the first dozen, and those with blanks or control signs as code."""
    listed = list(names)
    texts = [name if name.isprintable() and name == name.strip() else ascii(name) for name in listed[:_MOST_SHOWN]]
    texts = [text if len(text) <= 60 else text[:60] + "…" for text in texts]  # noqa: PLR2004 - what a line holds
    more = len(listed) - len(texts)
    return ", ".join(texts) + (f" and {more} more" if more else "")


def or_null(text: str, request: ReadRequest) -> str:
    """SQL of a text, null where it is one of those that mean no value."""
    for null in request.contract.nulls:
        text = f"nullif({text}, {literal(null)})"
    return text
