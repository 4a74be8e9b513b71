"""`transformers` kept from the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from logging import CRITICAL

from transformers.utils import logging

from logitcache.models.gguf import without_bars


@contextmanager
def quiet() -> Iterator[None]:
    """`transformers` without its progress bars and remarks: what matters we say ourselves."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(CRITICAL)
    logging.disable_progress_bar()
    try:
        with without_bars():
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
