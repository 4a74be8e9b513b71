"""Options of ``logitcache reshape``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from logitcache.config.data import delimiter, encoding
from logitcache.config.labels import names_of
from logitcache.config.option import option


@dataclass(frozen=True)
class TextFiles:
    """How text files are read, where it cannot be seen from them."""

    encoding: str | None = encoding()
    delimiter: str | None = delimiter()


@dataclass(frozen=True)
class ReshapeConfig:
    """What ``reshape`` writes."""

    out: Path = option(
        Path("OUT.jsonl"), "File of JSON lines to write; it must not be there yet.", group="Output"
    )
    columns: tuple[str, ...] | None = option(
        None,
        "Names that the kind needs, in its order, separated by commas.",
        parse=names_of,
        annotation="str | Sequence[str]",
    )
    text_files: TextFiles = field(default_factory=TextFiles)
