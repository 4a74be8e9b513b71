"""Models in one ``.gguf`` file, the format of llama.cpp: what `transformers` needs to read one.

It rounds nothing further: the quantised weights are widened to the precision that is asked for. The
tokenizer is made from the file too; it may split texts otherwise than the published one, which a
named tokenizer (``--tokenizer``) then replaces. No torch.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from logitcache.errors import SpecError

SUFFIX = ".gguf"
MAGIC = b"GGUF"  # the first bytes of a file


def is_gguf(path: str) -> bool:
    """Whether a path names a .gguf file, by its ending."""
    return Path(path).suffix.lower() == SUFFIX


def check_gguf(path: str) -> None:
    """Raises SpecError without the file, for another format, or without the package for it."""
    file = Path(path)
    expected = "a .gguf file"
    if not file.is_file():
        raise SpecError(
            expected=expected,
            found="no such file",
            advice="Correct the path; that of the teacher of a cache is given with --teacher.",
            where=path,
        )
    with file.open("rb") as stream:
        is_format = stream.read(len(MAGIC)) == MAGIC
    if not is_format:
        raise SpecError(
            expected=expected,
            found="a file that does not begin with GGUF",
            advice="Download it again.",
            where=path,
        )
    if importlib.util.find_spec("gguf") is None:
        raise SpecError(
            expected="the package gguf, which reads .gguf files",
            found="it is not installed",
            advice="Run: pip install gguf",
            where=path,
        )


def location(path: str) -> tuple[str, dict[str, Any]]:
    """Where `transformers` reads a checkpoint, and its argument for a .gguf file: (folder,
    {"gguf_file": name}); for any other path (path, {}). Raises SpecError as :func:`check_gguf`.
    """
    if not is_gguf(path):
        return path, {}
    check_gguf(path)
    file = Path(path)
    return str(file.parent), {"gguf_file": file.name}


def unpacked(of_file: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with which `transformers` makes a plain model of a .gguf file; none for any
    other checkpoint. Newer versions would else keep the blocks packed, compute with kernels from
    the hub, and neither train nor save the model.
    """
    import transformers

    packs = getattr(transformers, "GgufConfig", None)
    if not of_file or packs is None:
        return dict(of_file)
    return {**of_file, "quantization_config": packs(dequantize=True)}


@contextmanager
def without_bars() -> Iterator[None]:
    """`transformers` shows a bar of its own while it widens weights, whatever its settings say."""
    conversion: Any = importlib.import_module("transformers.modeling_gguf_pytorch_utils")
    bar = conversion.tqdm
    conversion.tqdm = partial(bar, disable=True)
    try:
        yield
    finally:
        conversion.tqdm = bar
