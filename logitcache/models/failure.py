"""A checkpoint that was not loaded: its files, and what a library said of it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from logitcache.errors import SpecError

MAX_CONFIG_BYTES = 64 << 20
WORDS = 240  # of a library, in characters
AGAIN = "Save or download it again."


@dataclass(frozen=True)
class Failure:
    """A checkpoint that was not loaded: its files and the error. ``auto``: the class to load it."""

    path: str
    names: list[str]  # of its files; none where they cannot be listed
    error: BaseException
    auto: Any = None

    @property
    def folder(self) -> Path:
        return Path(self.path)

    @property
    def weights(self) -> list[str]:
        """Names of whole weights in safetensors, or of a part of them."""
        weights = [name for name in self.names if name.endswith(".safetensors")]
        return [name for name in weights if not name.startswith("adapter_")]

    @cached_property
    def config(self) -> dict[str, Any]:
        """What a folder's config.json says; empty without one. Raises SpecError for broken ones."""
        return read_object(self.folder / "config.json") if "config.json" in self.names else {}


def own_words(error: BaseException) -> str:
    """What a library says, on one line. Its type stands before it where the words alone say little."""
    strict = type(error).__name__ == "StrictDataclassFieldValidationError"
    if strict and error.__cause__ is not None:
        error = error.__cause__  # it says which value; the error itself only that there is one
    text = " ".join(str(error).split()).rstrip(".")
    if len(text) > WORDS:
        text = f"{text[:WORDS]}…"
    plain = isinstance(error, OSError | ValueError | ImportError) and text
    return text if plain else f"{type(error).__name__}: {text}".rstrip(": ")


def read_object(path: Path) -> dict[str, Any]:
    """The object in a file of JSON. Raises SpecError, without its place, where it holds none."""
    expected = f"an object of JSON in {path.name}"
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise SpecError(
                expected=expected, found=f"more than {MAX_CONFIG_BYTES:,} bytes", advice=AGAIN
            )
        document = json.loads(path.read_text("utf-8-sig"))
    except (ValueError, RecursionError, OSError) as error:
        if isinstance(error, SpecError):
            raise
        raise SpecError(expected=expected, found=own_words(error), advice=AGAIN) from None
    if not isinstance(document, dict):
        raise SpecError(expected=expected, found=f"a {type(document).__name__}", advice=AGAIN)
    return document
