"""The code that a checkpoint brings (``--trust-remote-code``): a part of what a teacher is."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from logitcache import identity

PACKAGE = "transformers_modules."  # where `transformers` puts the files of checkpoints, and imports them from


def code_digest(*objects: Any) -> str | None:
    """Digest of the files that the classes of these objects were imported from, and of those that
    these import relatively. None where no class of theirs came with a checkpoint.

    The files are the copies that were imported, whatever happens to the checkpoint's own.
    """
    from transformers.dynamic_module_utils import get_relative_import_files

    modules = set()
    for item in objects:
        for kind in type(item).__mro__:
            if kind.__module__.startswith(PACKAGE):
                modules.add(kind.__module__)
    digests: dict[str, str] = {}
    for name in sorted(modules):
        entry = Path(str(sys.modules[name].__file__))
        for file in (entry, *map(Path, get_relative_import_files(entry))):
            digests[file.relative_to(entry.parent).as_posix()] = identity.digest_file(file)
    return identity.digest_json(digests) if digests else None
