"""The embedded data set ``docstrings``: real English, built on the spot from what is installed,
nothing downloaded.

A row is the summary (first paragraph) of a docstring, its label the package it comes from. Sources
are parsed with ``ast`` and never imported or executed. A row counts by its content alone: the
blake2b of its text draws its split (80/10/10) and its place in it, so the same package versions
give the same bytes on every machine. Left out: what is no English sentence, what names its own
package, and what two packages both say. Two texts that differ in case, space or punctuation only
are one text.

Cost: about 17 s on one core for the eight packages (3,700 files), nearly all of it in the parser.
One process does it: worker processes would halve that once, but re-import ``__main__``, which runs
a user's unguarded script a second time.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
import math
import os
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from errno import ENOSPC
from hashlib import blake2b
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from logitcache.data.sources.summaries import (
    docstrings_of,
    garbage_collection_paused,
    sources,
    summaries,
)
from logitcache.errors import FormatError, OutOfSpace, SpecError
from logitcache.identity import digest_json
from logitcache.reporter import SILENT, Reporter
from logitcache.store.lock import lock_folder

NAMES: tuple[str, ...] = ("docstrings",)
PACKAGES: tuple[str, ...] = (
    "matplotlib",
    "networkx",
    "pandas",
    "scipy",
    "sklearn",
    "sympy",
    "torch",
    "transformers",
)
SPLITS: tuple[str, ...] = ("train", "dev", "test")
# the three largest have twice to three times as many: a class must not win by its prior
ROWS_PER_PACKAGE = 4000

_BUILDER = 1  # raise it when the same sources would give other rows
_NOTE = "docstring summaries of installed packages; the label is the package a summary comes from"
# where the name to install differs from the name to import
_DISTRIBUTIONS = {"sklearn": "scikit-learn"}
_PUNCTUATION = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class _Row:
    text: str
    label: str

    @property
    def digest(self) -> str:
        return blake2b(self.text.encode(), digest_size=16).hexdigest()

    @property
    def split(self) -> str:
        return SPLITS[max(0, int(self.digest[:8], 16) % 10 - 7)]


def build(
    folder: Path, reporter: Reporter = SILENT, *, packages: Mapping[str, Path] | None = None
) -> Path:
    """Build the data set ``docstrings`` in ``folder``, unless it stands there already, and return
    its own folder.

    That is ``folder/docstrings-<digest of builder and package versions>`` with train.jsonl,
    dev.jsonl, test.jsonl (``text`` and ``label`` per line) and labels.json. It appears whole or not
    at all. ``reporter`` gets a note per package. ``packages`` maps class names to folders of
    sources; by default the installed :data:`PACKAGES` are the classes.

    Raises SpecError (a package is not installed or has no usable docstrings, a folder that cannot
    be written), FormatError (an incomplete set in the place of this one), OutOfSpace.
    """
    if packages is None:
        packages = {name: _installed(name) for name in PACKAGES}
        versions = {name: _version(name) for name in PACKAGES}
    else:
        versions = {name: _digest_sources(source) for name, source in packages.items()}
    destination = folder / f"{NAMES[0]}-{digest_json([_BUILDER, versions])[:12]}"
    if not _is_complete(destination):
        try:
            _build_alone(packages, versions, destination, reporter)
        except OSError as error:
            raise _unwritable(error, destination) from error
    return destination


def _build_alone(
    packages: Mapping[str, Path], versions: Mapping[str, str], destination: Path, reporter: Reporter
) -> None:
    """Build the set, or wait for who is building it."""
    folder, content = destination.parent, "the data set docstrings"
    was_there = folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    lock = lock_folder(
        folder, name=f".{destination.name}.lock", wait=math.inf, content=content, reporter=reporter
    )
    try:
        if not _is_complete(destination):
            _publish(_build(packages, reporter), versions, destination)
    finally:
        lock.release()
        if not was_there:
            with suppress(OSError):  # the set is in it
                folder.rmdir()


def _installed(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise SpecError(
            f"data set docstrings: package {name} is not installed. Run: pip install {_distribution(name)}"
        )
    return Path(spec.origin).parent


def _version(name: str) -> str:
    try:
        return version(_distribution(name))
    except PackageNotFoundError as error:
        raise SpecError(
            f"data set docstrings: package {name} is there, but not its version. Run: pip install {_distribution(name)}"
        ) from error


def _distribution(name: str) -> str:
    return _DISTRIBUTIONS.get(name, name)


def _digest_sources(source: Path) -> str:
    return digest_json(
        [[path.relative_to(source).as_posix(), path.read_bytes().hex()] for path in sources(source)]
    )


def _build(packages: Mapping[str, Path], reporter: Reporter) -> list[_Row]:
    """All rows of the set, in the order of their digests."""
    texts: dict[str, list[str]] = {}
    for name, source in packages.items():
        texts[name] = summaries(name, source)
        reporter.note(f"docstrings: {name}: {len(texts[name]):,} summaries")
    rows = _drop_ambiguous(texts)
    for name in packages:
        if not rows[name]:
            raise SpecError(
                f"data set docstrings: expected docstrings in the sources of {name}, found none. Install it again."
            )
    selected = [row for name in packages for row in _cap(rows[name])]
    reporter.note(f"docstrings: {len(selected):,} rows, at most {ROWS_PER_PACKAGE:,} of a package")
    return sorted(selected, key=lambda row: row.digest)


def _cap(rows: list[_Row]) -> list[_Row]:
    """A draw by content; by the digest's last half, since its first decides the split and the
    order.
    """
    return sorted(rows, key=lambda row: row.digest[16:])[:ROWS_PER_PACKAGE]


def _drop_ambiguous(texts_of: Mapping[str, Iterable[str]]) -> dict[str, list[_Row]]:
    """One row per text and package, none that two packages share; of variants that of the smallest
    digest.
    """
    owners: dict[str, set[_Row]] = defaultdict(set)
    for name, texts in texts_of.items():
        for text in texts:
            owners[_PUNCTUATION.sub(" ", text.casefold()).strip()].add(_Row(text, name))
    rows: dict[str, list[_Row]] = defaultdict(list)
    for variants in owners.values():
        if len({row.label for row in variants}) == 1:
            row = min(variants, key=lambda row: row.digest)
            rows[row.label].append(row)
    return rows


def versions_digest() -> str:
    """What tells the installed packages from others."""
    return digest_json([_BUILDER, {name: _version(name) for name in PACKAGES}])[:12]


def running_text(least: int) -> list[str]:
    """The docstrings of :data:`PACKAGES` of at least so many characters, each once, in the order of
    their digests.
    """
    texts: set[str] = set()
    with garbage_collection_paused():
        for name in PACKAGES:
            for path in sources(_installed(name)):
                texts.update(map(inspect.cleandoc, docstrings_of(path)))
    long = (text for text in texts if len(text) >= least)
    return sorted(
        long, key=lambda text: blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()
    )


def _publish(rows: list[_Row], versions: Mapping[str, str], destination: Path) -> None:
    """Write the set beside its place and move it there in one step."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=f".{destination.name}-", dir=destination.parent
    ) as scratch:
        folder = Path(scratch) / destination.name
        folder.mkdir()  # the scratch folder is readable by its owner alone; the set follows the umask
        for split in SPLITS:
            lines = (
                _json({"text": row.text, "label": row.label}) for row in rows if row.split == split
            )
            _write(folder / f"{split}.jsonl", "".join(lines))
        _write(
            folder / "labels.json",
            _json(
                {
                    "labels": sorted(versions),
                    "note": _NOTE,
                    "versions": dict(sorted(versions.items())),
                }
            ),
        )
        try:
            folder.rename(destination)
        except OSError:
            # if it is, another process was faster: its bytes are ours
            if not _is_complete(destination):
                raise


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _is_complete(folder: Path) -> bool:
    return all(
        (folder / file).is_file()
        for file in (*(f"{split}.jsonl" for split in SPLITS), "labels.json")
    )


def _unwritable(error: OSError, destination: Path) -> FormatError | OutOfSpace | SpecError:
    if error.errno == ENOSPC:
        return OutOfSpace(
            "no space left to build the data set docstrings. Make room, or name another folder",
            where=destination,
        )
    if destination.exists():
        return FormatError(
            expected="a built data set",
            found="something else or a part of one",
            advice="Delete it",
            where=destination,
        )
    return SpecError(
        expected="a folder to write to",
        found=f"none ({error.strerror})",
        advice="Name another.",
        where=destination.parent,
    )
