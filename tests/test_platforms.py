"""Other systems and smaller installations: what they lack is taken away, and what needs none of it
works.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import run_fresh


@pytest.mark.parametrize(
    "system", ["windows", "macos", pytest.param("small", marks=pytest.mark.slow)]
)
def test_caches_are_read_and_written_without_what_a_system_lacks(
    system: str, tmp_path: Path
) -> None:
    script = Path(__file__).with_name("other_system.py")
    code = f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')"
    outcome = run_fresh(code, system, str(tmp_path))
    assert outcome.returncode == 0, outcome.stderr
