"""A teacher or a student that somebody has in memory: saved in the workspace under a name made of
its content, and from there on a checkpoint like any other, with the same fingerprints and the same
ways to go on.
"""

from __future__ import annotations

import functools
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from logitcache import identity
from logitcache.config import own
from logitcache.config.workspace import DEFAULT, Workspace
from logitcache.data.rows import Source
from logitcache.data.sources.memory import UNNAMED
from logitcache.errors import FingerprintMismatch, SpecError, short
from logitcache.store import files

MERGE = "Merge it first: model.merge_and_unload()."


def place_of(model: Any, tokenizer: Any, workspace: Any, who: str) -> Any:
    """Where a model in memory lies, saved now unless the same one is there; paths and names are
    returned as they are. ``who`` it is: teacher or student. Raises SpecError for what is no model
    of `transformers`, or lacks its tokenizer.
    """
    if isinstance(model, str | os.PathLike):
        return model
    model = getattr(model, "_orig_mod", model)  # of torch.compile
    if not _has(model, "save_pretrained", "state_dict", "config"):
        raise SpecError(
            expected="a path, a name, or a model of transformers in memory",
            found=short(repr(type(model))),
            advice="Correct it.",
            where=who,
        )
    if hasattr(model, "peft_config"):
        raise SpecError(expected="a whole model", found="an adapter", advice=MERGE, where=who)
    _check_tokenizer(tokenizer, who)
    folder = DEFAULT if workspace is None else Path(workspace)
    return saved_model(model, tokenizer, folder / "models", type(model).__name__)


def student_options(student: Any, tokenizer: Any, workspace: Any) -> dict[str, Any]:
    """The options of `train` for a student that may be in memory: a model of `transformers` with
    its tokenizer, any other ``nn.Module``, or what makes one. Raises SpecError.
    """
    student = getattr(student, "_orig_mod", student)  # of torch.compile
    if isinstance(student, str | os.PathLike):
        return {"student": student, "tokenizer": tokenizer}
    is_module = _has(student, "state_dict", "forward") and not isinstance(student, type)
    if is_module and _has(student, "save_pretrained", "config"):
        return {"student": place_of(student, tokenizer, workspace, "student"), "tokenizer": None}
    name = own_student(student)
    if not isinstance(tokenizer, str | os.PathLike | None):
        from logitcache.stages.stored import keep_tokenizer

        _check_tokenizer(tokenizer, "student")
        folder = DEFAULT if workspace is None else Path(workspace)
        tokenizer = keep_tokenizer(tokenizer, Workspace(folder))
    elif is_module and tokenizer is None:
        _check_tokenizer(tokenizer, "student")
    return {"student": name, "tokenizer": tokenizer}


def own_student(student: Any) -> str:
    """The name under which a module in memory, or what makes one, is kept: of a module, with a
    digest of its weights. Raises SpecError for what is neither.
    """
    from torch import nn

    if isinstance(student, nn.Module):
        from logitcache.teacher.model import weights_digest

        kind = type(student)
        digest = weights_digest(student.state_dict())[:8]
        return own.keep(f"{kind.__module__}:{kind.__qualname__}@{digest}", student)
    maker = student.func if isinstance(student, functools.partial) else student
    if not callable(maker) or not _has(maker, "__module__", "__qualname__"):
        raise SpecError(
            expected="a path, a name, an nn.Module, or what makes one",
            found=short(repr(type(student))),
            advice="Correct it.",
            where="student",
        )
    values = ""
    if isinstance(student, functools.partial):
        settings = [f"{name}={value!r}" for name, value in student.keywords.items()]
        values = f"({', '.join([*map(repr, student.args), *settings])})"
    return own.keep(f"{maker.__module__}:{maker.__qualname__}{values}", student)


def _check_tokenizer(tokenizer: Any, who: str) -> None:
    """Raises SpecError for what is no tokenizer."""
    if not _has(tokenizer, "save_pretrained", "__call__"):
        raise SpecError(
            expected="the tokenizer of a model in memory",
            found="none" if tokenizer is None else short(repr(type(tokenizer))),
            advice="Give it as tokenizer=... beside the model.",
            where=who,
        )


def _has(value: Any, *names: str) -> bool:
    return all(hasattr(value, name) for name in names)


def saved_model(model: Any, tokenizer: Any, models: Path, name: str) -> Path:
    """The folder that a model is saved in, named by ``name`` and its content."""
    from logitcache.models.sentence import save_model

    folder = models / f"{name}-{_digest(model, tokenizer)[:12]}"
    if folder.exists():
        return folder
    models.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=models, prefix=".", ignore_cleanup_errors=True) as beside:
        saved = Path(beside) / "model"
        with files.written_by_library(models, "the model"):
            save_model(model, saved)
            tokenizer.save_pretrained(saved)
        with suppress(OSError):  # somebody else has saved the same one
            saved.rename(folder)
    return folder


def _digest(model: Any, tokenizer: Any) -> str:
    """Digest of the weights, of what they are computed with, and of all that the tokenizer does."""
    from logitcache.models.tokenizer import tokenizer_fingerprint
    from logitcache.teacher.model import weights_digest

    text = json.dumps(model.config.to_dict(), default=str)
    config = json.loads(text, parse_constant=str)
    parts = tokenizer_fingerprint(tokenizer)
    return identity.digest_json([weights_digest(model.state_dict()), config, parts])


@contextmanager
def advise_names(source: Source | None, workspace: Workspace) -> Iterator[None]:
    """Add advice to a mismatch in a default folder, which unnamed rows in memory share."""
    try:
        yield
    except FingerprintMismatch as error:
        if (
            source is not None
            and source.name == UNNAMED
            and Path(error.where or "").is_relative_to(workspace.folder)
        ):
            error.advice += (
                f" Rows in memory are all called {UNNAMED}: name these with load(..., name=...)."
            )
        raise
