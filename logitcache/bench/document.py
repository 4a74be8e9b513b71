"""The document of a bench: one JSON object.

``schema`` names its form. ``complete`` is false where the bench was interrupted; what was measured
until then is in the document. It names no host, user or path. ``docs/bench.md`` describes the keys.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from logitcache.errors import SpecError
from logitcache.reporter import Reporter
from logitcache.store.files import write_atomic

SCHEMA = "logitcache-bench/1"
BENCHES = ("overhead", "dump", "read", "plan")
NEEDED = ("schema", "bench", "command", "machine", "versions", "seed", "complete", "setting")

INTERRUPTED = (KeyboardInterrupt, SystemExit)  # the command line turns signals into the second

Document: TypeAlias = dict[str, Any]


def document(
    bench: str,
    command: Sequence[str],
    setting: Mapping[str, Any],
    results: Mapping[str, Any],
    *,
    device: str = "cpu",
    seed: int = 0,
    complete: bool = True,
) -> Document:
    """The document of a bench: its results, machine, versions, setting and command line."""
    from logitcache.bench.machine import machine, versions

    assert bench in BENCHES, bench
    return {
        "schema": SCHEMA,
        "bench": bench,
        "command": " ".join(map(nameless, command)),
        "machine": machine(device),
        "versions": versions(),
        "seed": seed,
        "complete": complete,
        "setting": dict(setting),
        **results,
    }


@dataclass
class Measuring:
    """A bench under way."""

    complete: bool = False


@contextmanager
def until_interrupted(reporter: Reporter) -> Iterator[Measuring]:
    """A part of a bench that an interrupt ends early: what was measured until then is kept."""
    measuring = Measuring()
    try:
        yield measuring
        measuring.complete = True
    except INTERRUPTED:
        reporter.note("interrupted: what was measured until now is kept")


def nameless(word: str) -> str:
    """A word of a command line, a local path by its last part alone, so that no path is recorded. A
    URL or the name of a model on the hub stays.
    """
    path = Path(word)
    local = (
        path.is_absolute() or word.startswith((".", "~")) or (len(path.parts) > 1 and path.exists())
    )
    return path.name if local and "://" not in word else word


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a document atomically. Raises OutOfSpace."""
    write_atomic(path, (json.dumps(content, indent=1) + "\n").encode())


def read(path: Path) -> Document:
    """Read a document that a bench has written. Raises SpecError for another file or schema."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise SpecError(
            expected="a file that `logitcache bench` wrote",
            found="no such file",
            advice="Make one: logitcache bench overhead --out FILE.json.",
            where=path,
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise SpecError(
            f"expected JSON that `logitcache bench` wrote, found: {error}.", where=path
        ) from None
    schema = content.get("schema") if isinstance(content, dict) else None
    if schema != SCHEMA:
        raise SpecError(
            expected=f"schema {SCHEMA!r}",
            found="none" if schema is None else f"{schema!r:.60}",
            advice="Run the bench again with this version.",
            where=path,
        )
    lacking = [key for key in NEEDED if key not in content]
    if lacking or content["bench"] not in BENCHES:
        fault = f"one without {', '.join(lacking) or 'its name'}"
        raise SpecError(expected="a bench's document", found=fault, where=path)
    return dict(content)
