"""Other systems and smaller installations: what they lack is taken away, and what needs none of it
works.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "system", ["windows", "macos", pytest.param("small", marks=pytest.mark.slow)]
)
def test_caches_are_read_and_written_without_what_a_system_lacks(
    system: str, tmp_path: Path
) -> None:
    script = Path(__file__).with_name("other_system.py")
    outcome = subprocess.run(
        [sys.executable, script, system, tmp_path], capture_output=True, text=True, timeout=100
    )
    assert outcome.returncode == 0, outcome.stderr
