"""The contract table's own modules (`table_*`) are imported by their plain names; what it has proved is told at the end of the run."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print one line for each world and mode, and the sum."""
    rows = [dict(report.user_properties) for key in ("passed", "failed") for report in terminalreporter.getreports(key)]
    rows = [row for row in rows if "contract" in row]
    if not rows:
        return
    terminalreporter.section("contract table: real packets against the oracle")
    for row in rows:
        terminalreporter.line(row["contract"])
    cases, differing = sum(row["cases"] for row in rows), sum(row["differing"] for row in rows)
    terminalreporter.line(f"{cases} cases in {len(rows)} worlds, {differing} differ from the oracle")
