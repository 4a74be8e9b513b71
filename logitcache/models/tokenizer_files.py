"""A tokenizer as arrays of bytes, and back into a folder: so a cache of tokens holds what its
students read their texts with.

The files are those of `save_pretrained`, without what says where a tokenizer came from and what it
was asked last, so that the same tokenizer gives the same bytes wherever it lay.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from logitcache.records import Array
from logitcache.store import files

PREFIX = "tokenizer/"  # of the arrays' names
SETTINGS = "tokenizer_config.json"
BACKEND = "tokenizer.json"
# where it came from, and which version wrote it
ORIGINS = {"name_or_path", "tokenizer_file", "is_local", "local_files_only", "transformers_version"}
LAST_CALL = ("truncation", "padding")  # of the library's object, left by what was asked last


def tokenizer_arrays(tokenizer: Any) -> dict[str, Array]:
    """The files of a tokenizer by ``tokenizer/NAME``: u8 each."""
    with tempfile.TemporaryDirectory() as folder:
        with files.written_by_library(Path(folder), "the tokenizer"):
            tokenizer.save_pretrained(folder)
        contents = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
    for name, remove in ((SETTINGS, ORIGINS), (BACKEND, set(LAST_CALL))):
        if name in contents:
            document = json.loads(contents[name])
            cleaned: dict[str, Any] = {}
            for key, value in document.items():
                if key in LAST_CALL:
                    cleaned[key] = None
                elif key not in remove:
                    cleaned[key] = value
            contents[name] = json.dumps(cleaned, ensure_ascii=False).encode()
    return {f"{PREFIX}{name}": np.frombuffer(data, np.uint8) for name, data in contents.items()}


def write_tokenizer(arrays: Mapping[str, Array], folder: Path) -> bool:
    """Make the folder of the tokenizer among these arrays, as a whole; False where none is."""
    stored = {name.removeprefix(PREFIX): arrays[name] for name in arrays if name.startswith(PREFIX)}
    if not stored:
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as temporary:
        complete = Path(temporary) / "tokenizer"
        complete.mkdir()
        for name, data in stored.items():
            (complete / Path(name).name).write_bytes(data.tobytes())
        with suppress(OSError):  # another command was as quick
            complete.rename(folder)
    return True
