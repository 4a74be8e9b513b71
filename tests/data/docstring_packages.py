"""Made-up packages with docstrings."""

import json
from collections.abc import Mapping
from pathlib import Path

from logitcache.data.sources import docstrings

Files = Mapping[str, str | bytes]

ANIMALS = [
    "otter",
    "heron",
    "badger",
    "marten",
    "lynx",
    "plover",
    "falcon",
    "beaver",
    "stoat",
    "weasel",
]
VERBS = ["follows", "avoids", "watches", "copies"]


def tree(root: Path, files: Files) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def module(*docstrings: str) -> str:
    return "\n".join(f"def f{i}():\n    {text!r}\n" for i, text in enumerate(docstrings))


def sentences(place: str) -> list[str]:
    return [
        f"The {one} {verb} every other {two} near the {place}."
        for one in ANIMALS
        for verb in VERBS
        for two in ANIMALS
    ]


def rows(folder: Path, split: str) -> list[dict[str, str]]:
    return [
        json.loads(line) for line in (folder / f"{split}.jsonl").read_text("utf-8").splitlines()
    ]


def built(tmp_path: Path, **packages: Files) -> dict[str, str]:
    """The label of every text in a set built from these sources."""
    folder = docstrings.build(
        tmp_path / "out",
        packages={name: tree(tmp_path / name, files) for name, files in packages.items()},
    )
    return {row["text"]: row["label"] for split in docstrings.SPLITS for row in rows(folder, split)}
