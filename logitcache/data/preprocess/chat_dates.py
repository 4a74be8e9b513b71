"""The date that a chat template writes into a conversation: one for all rows of a process."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from functools import cache
from typing import Any

from logitcache.errors import SpecError

_CALL = re.compile(r"strftime_now\(\s*(['\"])(.*?)\1\s*\)")
DATE = "strftime_now"  # what a template calls for today's date
FIXED_DATE = "SOURCE_DATE_EPOCH"  # seconds since 1970, in place of today


@cache
def _now(fixed: str | None) -> datetime:
    if fixed is None:
        return datetime.now()
    try:
        return datetime.fromtimestamp(int(fixed), UTC)
    except (ValueError, OverflowError, OSError):
        raise SpecError(
            expected="seconds since 1970",
            found=repr(fixed),
            advice="Correct it, or unset it.",
            where=FIXED_DATE,
        ) from None


def dated(tokenizer: Any) -> str | None:
    """The template with its date written out; None for the tokenizer's own, which has none. Raises
    SpecError.
    """
    template = getattr(tokenizer, "chat_template", None)
    if not isinstance(template, str) or DATE not in template:
        return None
    now = _now(os.environ.get(FIXED_DATE))
    return _CALL.sub(lambda call: repr(now.strftime(call[2])), template)


def date_note(tokenizer: Any) -> str | None:
    """A note on a template that writes the date into rows; None for others. Raises SpecError."""
    if DATE not in source_of(tokenizer):
        return None
    now = _now(os.environ.get(FIXED_DATE))
    return (
        f"the chat template writes the date into rows ({now:%Y-%m-%d}): those that are made on another day are other "
        f"rows, unless {FIXED_DATE}={int(now.timestamp())} is set"
    )


def source_of(tokenizer: Any) -> str:
    """The text of a tokenizer's chat template, or of several as JSON."""
    template = getattr(tokenizer, "chat_template", None)
    return template if isinstance(template, str) else json.dumps(template)
