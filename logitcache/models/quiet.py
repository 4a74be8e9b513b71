"""`transformers` kept from the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from logging import NullHandler

from transformers.utils import logging

from logitcache.models.gguf import without_bars


@contextmanager
def quiet() -> Iterator[None]:
    """`transformers` without its progress bars and remarks: what matters we say ourselves.

    Its remarks are sent nowhere: another level would make every logger of the process forget what it
    is to let through, some milliseconds each time.
    """
    root, bars = logging.get_logger(), logging.is_progress_bar_enabled()
    handlers, propagate = root.handlers, root.propagate
    root.handlers, root.propagate = [NullHandler()], False
    logging.disable_progress_bar()
    try:
        with without_bars():
            yield
    finally:
        root.handlers, root.propagate = handlers, propagate
        if bars:
            logging.enable_progress_bar()
