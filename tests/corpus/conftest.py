"""The last line of `pytest tests/corpus`: how many files, and what became of them."""

from collections import Counter

import pytest

OUTCOMES = ("loaded", "quarantined", "refused", "crashed")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count the outcomes that the tests wrote down; properties of reports come from workers of xdist, too."""
    reports = [report for listed in terminalreporter.stats.values() for report in listed if hasattr(report, "when")]
    facts = [dict(report.user_properties) for report in reports if report.when == "call"]
    loads = [item for item in facts if "corpus_file" in item]
    if not loads:
        return
    # a test that ended before it could say what became of its file counts as a crash
    outcomes = Counter(str(item.get("corpus_outcome", "crashed")) for item in loads)
    files = len({item["corpus_file"] for item in loads})
    terminalreporter.write_line(
        f"corpus: {files} files in {len(loads)} loads: "
        + ", ".join(f"{outcomes[outcome]} {outcome}" for outcome in OUTCOMES)
        + f"; rows {sum(int(item.get('corpus_rows', 0)) for item in loads):,} = "
        f"{sum(int(item.get('corpus_loaded', 0)) for item in loads):,} loaded + "
        f"{sum(int(item.get('corpus_quarantined', 0)) for item in loads):,} quarantined"
    )
