"""Names: of a header's columns in the cleaned model, and of files as batches."""

import re
import unicodedata
from collections.abc import Sequence

import duckdb

from assets.errors import HeadraceError
from assets.naming import IDENTIFIER, is_batch_id

_LONGEST = 63
# columns of tables that stages make beside the product's own, and aliases they read those by
_TAKEN = {
    *("batch_id", "row_number", "label", "labels", "features", "event_at", "known_at", "label_known_at", "asked_at"),
    *("outcome_known_at", "part", "fold"),
    *("probability", "probabilities", "predicted", "is_positive", "cluster", "scores", "model_id", "scored_at"),
}
_PERIOD = re.compile(
    r"(?<!\d)(?:(?:19|20)\d{2}([-_.]?)(?:0[1-9]|1[0-2])(?:\1[0-3]\d)?|(?:19|20)\d{2}(?:[-_]?(?:[qQ][1-4]|[wW][0-5]\d))?)(?!\d)"
)
_BATCH_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def reserved_words() -> frozenset[str]:
    """Words that SQL doesn't take as a bare column name."""
    found = duckdb.execute(
        "select keyword_name from duckdb_keywords() where keyword_category in ('reserved', 'type_function')"
    ).fetchall()
    return frozenset(str(word) for (word,) in found)


def column_names(header: Sequence[str]) -> dict[str, str]:
    """Header name -> name in the cleaned model: lower-case ASCII words joined by `_`, each once, none reserved.

    Accents are left out (NFKD); a leading digit gets `n_` before it; a name without a Latin letter or digit becomes
    `column_<place>`; a reserved or taken word gets `_` behind it.
    """
    avoid = reserved_words() | _TAKEN
    names: dict[str, str] = {}
    for place, raw in enumerate(header, start=1):
        ascii_text = unicodedata.normalize("NFKD", raw.replace("ß", "ss")).encode("ascii", "ignore").decode()
        # CamelCase is words, too; a run of capitals is one word
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", ascii_text)
        name = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_") or f"column_{place}"
        name = (f"n_{name}" if name[0].isdigit() else name)[: _LONGEST - 4].rstrip("_")
        if name in avoid or name.startswith("headrace_"):
            name = f"{name.removeprefix('headrace_')}_"
        candidate, number = name, 2
        while candidate in names.values():
            candidate, number = f"{name}_{number}", number + 1
        names[raw] = candidate
    return names


def file_pattern(files: Sequence[str]) -> tuple[str, str]:
    """A regular expression for these file names, its group `batch` the part that tells deliveries apart, and why.

    Several files: what lies between their common beginning and end. One file: a period in its name, else its whole
    stem and whatever a later delivery adds to it.

    Raises:
        HeadraceError: the names can't be told apart by letters, digits, `_`, `.` and `-`, or landing passes them over.
    """
    hidden = [name for name in files if name.startswith(".") or name.endswith((".part", ".tmp", ".partial"))]
    if hidden:
        raise HeadraceError(
            "the landing folder passes over hidden and unfinished files", where=hidden[0], fix="rename the file"
        )
    if len(files) > 1:
        return _of_several(files)
    name = files[0]
    stem, ending = _stem_and_ending(name)
    periods = [match for match in _PERIOD.finditer(stem) if is_batch_id(match[0])]
    if periods:
        found = periods[-1]
        shape = re.sub(r"\d+", lambda digits: rf"\d{{{len(digits[0])}}}", re.escape(found[0]).replace(r"\-", "-"))
        pattern = f"{re.escape(stem[: found.start()])}(?P<batch>{shape}){re.escape(stem[found.end() :] + ending)}"
        return pattern, f"{found[0]} in the file's name is its period, so it is the batch"
    runs = sorted(_BATCH_RUN.finditer(stem), key=lambda run: len(run[0]))
    if not runs:
        raise HeadraceError(
            "the file's name has no letter or digit that a batch id can have",
            where=name,
            expected="letters, digits, _, . and -",
            fix="rename the file, for example to data_1.csv",
        )
    run = runs[-1]
    batch = run[0][:_LONGEST]
    before, after = re.escape(stem[: run.start()]), re.escape(stem[run.start() + len(batch) :])
    pattern = f"{before}(?P<batch>{re.escape(batch)}[A-Za-z0-9_.-]*){after}{re.escape(ending)}"
    return pattern, f"one file without a period in its name: its batch is {batch}; later ones may add to the name"


def _of_several(files: Sequence[str]) -> tuple[str, str]:
    stems = [_stem_and_ending(name)[0] for name in files]
    suffixes = sorted({_stem_and_ending(name)[1] for name in files})
    if len(set(files)) < len(files) or len(set(stems)) < len(stems):
        raise HeadraceError(
            "two files have the same name",
            where=", ".join(sorted(files)),
            expected="one name for each delivery",
            fix="rename one; the part of the name that differs becomes the batch id",
        )
    ordered = sorted(stems)
    start = len(_common(ordered[0], ordered[-1]))
    end = min(len(_common(stem[::-1], stems[0][::-1])) for stem in stems)
    # a batch id keeps whole numbers and words: flights_2013-1 and flights_2013-2 differ in 2013-1 and 2013-2
    while start and re.match(r"[A-Za-z0-9.-]", ordered[0][start - 1]):
        start -= 1
    end = min(end, *(len(stem) - start for stem in stems))
    while end and re.match(r"[A-Za-z0-9.-]", ordered[0][len(ordered[0]) - end]):
        end -= 1
    batches = [stem[start : len(stem) - end] for stem in stems]
    if not all(is_batch_id(batch) for batch in batches):
        raise HeadraceError(
            "the files' names give no batch ids",
            where=", ".join(sorted(files)[:3]),
            expected="names that differ in letters, digits, _, . and -, such as sales_2024-01.csv, sales_2024-02.csv",
            found=", ".join(batches[:3]),
            fix="rename the files",
        )
    shapes = {re.sub(r"\d+", lambda digits: rf"\d{{{len(digits[0])}}}", batch) for batch in batches}
    shape = shapes.pop() if len(shapes) == 1 else "[A-Za-z0-9][A-Za-z0-9_.-]*"
    shape = shape.replace(".", r"\.") if not shape.startswith("[") else shape
    suffix = "|".join(re.escape(item) for item in suffixes)
    ending = suffix if len(suffixes) == 1 else f"(?:{suffix})"
    pattern = (
        f"{re.escape(ordered[0][:start])}(?P<batch>{shape}){re.escape(ordered[0][len(ordered[0]) - end :])}{ending}"
    )
    return pattern, f"the files are the batches {', '.join(sorted(batches)[:4])}{', …' if len(batches) > 4 else ''}"  # noqa: PLR2004 - a few as examples


def _stem_and_ending(name: str) -> tuple[str, str]:
    """`sales_2024.csv.gz` is `sales_2024` and `.csv.gz`."""
    packed = next((name[-len(end) :] for end in (".gz", ".zst") if name.lower().endswith(end)), "")
    stem, dot, suffix = name.removesuffix(packed).rpartition(".")
    return (stem, f"{dot}{suffix}{packed}") if stem else (suffix, packed)


def is_period(batch: str) -> bool:
    """Whether a batch id is a date, week, month, quarter or year."""
    return _PERIOD.fullmatch(batch) is not None


def batch_of(pattern: str, name: str) -> str:
    """The batch id that a file name means."""
    match = re.fullmatch(pattern, name)
    return match["batch"] if match else ""


def is_name(text: str) -> bool:
    """Whether a text may name a product or column."""
    return IDENTIFIER.fullmatch(text) is not None


def _common(first: str, second: str) -> str:
    """The common beginning of two texts."""
    size = 0
    while size < min(len(first), len(second)) and first[size] == second[size]:
        size += 1
    return first[:size]
