"""What transformers says while it is kept quiet, and afterwards."""

from __future__ import annotations

import logging as python_logging
from io import StringIO

import pytest
from transformers.utils import logging

from logitcache.models.quiet import quiet


def test_nothing_is_said_in_here_and_all_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    root, said = logging.get_logger(), StringIO()
    monkeypatch.setattr(root, "handlers", [python_logging.StreamHandler(said)])
    remark = logging.get_logger("transformers.test_quiet").critical

    def fail() -> None:
        with quiet(), quiet():
            remark("kept back")
            assert not logging.is_progress_bar_enabled()
            raise ValueError("as a library would")

    for propagate in (False, True):
        monkeypatch.setattr(root, "propagate", propagate)
        state = (list(root.handlers), logging.get_verbosity(), logging.is_progress_bar_enabled())
        with pytest.raises(ValueError, match="as a library would"):
            fail()
        assert root.propagate is propagate
        now = (list(root.handlers), logging.get_verbosity(), logging.is_progress_bar_enabled())
        assert now == state
        remark("said again")
    assert said.getvalue() == "said again\n" * 2
