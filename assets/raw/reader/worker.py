"""The process in which landed files are parsed: it may be killed at any time, and holds nothing but the file it reads.

It takes requests as JSON lines on its standard input and answers each on its standard output: that it took it, and what
became of it. It ends
when its input does, that is, with the process that started it. It gets no credentials and opens no network.
"""

import importlib
import json
import os
import resource
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

import duckdb
import psutil

from assets.naming import literal
from assets.raw.reader import plain
from assets.raw.reader.protocol import ReadReport, ReadRequest, Refusal, RefusedFileError

# of the memory that the process may take: the rest is Python's, the text being looked at and what the parser
# doesn't count
_PARSER_SHARE = 0.5
_ADDRESSES = 3
_MODULES: dict[plain.Format, str] = {"csv": "text_csv", "parquet": "parquet", "jsonl": "jsonl", "excel": "excel"}


def main() -> int:
    """Answer requests until the input ends."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    requests: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_listen, args=(requests,), daemon=True).start()
    while True:
        line = requests.get()
        print("taken", file=answers, flush=True)  # from here on a death is about this file
        print(json.dumps(_answer(line)), file=answers, flush=True)


def _listen(requests: SimpleQueue[str]) -> None:
    """Pass on what is asked; when the asking process is gone, whatever is being read is for nobody."""
    for line in sys.stdin:
        requests.put(line)
    os._exit(0)


def _answer(line: str) -> dict[str, object]:
    request = ReadRequest.model_validate_json(line)
    try:
        _limit(request)
        return {"report": read(request).model_dump(mode="json")}
    except RefusedFileError as error:
        return {"refusal": _refusal(error).model_dump()}
    except (duckdb.OutOfMemoryException, MemoryError) as error:
        return {
            "refusal": Refusal(
                what="reading it takes more memory than allowed",
                expected=f"{request.memory_megabytes:,} MB (HEADRACE_READ_MEMORY_MEGABYTES)",
                found=_first_line(error),
                fix="deliver it in smaller parts, or raise the limit",
            ).model_dump()
        }
    except OSError as error:  # a full disk is not the file's fault
        return {"failure": _first_line(error)}
    except Exception as error:  # noqa: BLE001 - whatever a parser does with a hostile file, the reason is kept
        if "No space left" in str(error):
            return {"failure": _first_line(error)}
        return {
            "refusal": Refusal(
                what="the file can't be parsed",
                found=f"{type(error).__name__}: {_first_line(error)}",
                fix="mend the file at the place named and deliver it again",
            ).model_dump()
        }


def _limit(request: ReadRequest) -> None:
    """Bound what the system gives this process for one file; what is in use is watched by the asking process."""
    # of addresses much more is reserved than used: libraries, arenas and stacks of threads
    addresses = psutil.Process().memory_info().vms + _ADDRESSES * (request.memory_megabytes << 20)
    # a copy of a plain file in UTF-8 or in parts may be as large as that, and half as large again
    longest = max(int(request.unpacked_gigabytes * 1e9), 2 * Path(request.path).stat().st_size)
    for kind, soft in (
        (resource.RLIMIT_AS, addresses),
        (resource.RLIMIT_FSIZE, longest),
    ):
        _, hard = resource.getrlimit(kind)
        resource.setrlimit(kind, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:500]


def _refusal(error: RefusedFileError) -> Refusal:
    return Refusal(what=error.what, where=error.where, expected=error.expected, found=error.found, fix=error.fix)


def read(request: ReadRequest) -> ReadReport:
    """Read one file in this process.

    Raises:
        RefusedFileError: the file can't be loaded as a whole.
    """
    scratch = plain.scratch_of(request)
    try:
        staged = Path(request.path)
        most_bytes = int(request.unpacked_gigabytes * 1e9)
        path = plain.unpacked(staged, request.file_name, scratch, most_bytes)
        kind = plain.format_of(request.file_name, request.contract.format)
        plain.check_magic(path, kind)
        with _parser(request, staged, scratch) as con:
            return _reader_of(kind)(con, path, request)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _parser(request: ReadRequest, staged: Path, scratch: Path) -> duckdb.DuckDBPyConnection:
    """A DuckDB that sees nothing but the file and the folder to write to."""
    con = duckdb.connect(
        config={
            "threads": request.threads,
            "memory_limit": f"{int(request.memory_megabytes * _PARSER_SHARE)}MB",
            "temp_directory": str(scratch / "spill"),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            # scratch files are written once and read once
            "enable_external_file_cache": "false",
        }
    )
    con.execute("set global timezone='UTC'")
    con.execute(f"set allowed_paths=[{literal(str(staged))}]")
    con.execute(f"set allowed_directories=[{literal(request.folder)}]")
    con.execute("set enable_external_access=false")
    con.execute("set lock_configuration=true")
    return con


def _reader_of(kind: plain.Format) -> Callable[[duckdb.DuckDBPyConnection, Path, ReadRequest], ReadReport]:
    """The reader of a format; each is only imported when a file needs it."""
    module = importlib.import_module(f"assets.raw.reader.{_MODULES[kind]}")
    read_format: Callable[[duckdb.DuckDBPyConnection, Path, ReadRequest], ReadReport] = module.read
    return read_format


if __name__ == "__main__":
    sys.exit(main())
