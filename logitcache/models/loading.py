"""A checkpoint is loaded, or the error says on one line why not and what may be done: what the
libraries and a checkpoint's own code raise is caught here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from logitcache import hub
from logitcache.errors import LogitCacheError, OutOfSpace, SpecError
from logitcache.models.call import out_of_memory
from logitcache.models.causes import BY_NAME, OF_MODEL, Checks, refuse_integers
from logitcache.models.failure import Failure, own_words, read_object
from logitcache.models.folders import an_adapter
from logitcache.models.problem import check_counts
from logitcache.models.quiet import quiet
from logitcache.store import files

# what a library written in Rust raises over a fault of its own; no Exception
PANIC = "PanicException"
# of code, not of a disk
OWN_FAULTS = (TypeError, ValueError, LookupError, AttributeError, RuntimeError)
CORRECT = "Correct its config.json, or save or download it again."


@contextmanager
def loading(
    what: str,
    path: str,
    advice: str,
    revision: str | None = None,
    auto: Any = None,
    checks: Checks | None = None,
) -> Iterator[None]:
    """Whatever a library or a checkpoint's own code raises in here is raised as a SpecError that
    names the checkpoint.

    An error of ours that has its place already, a full disk and a signal pass through. ``advice``
    is what to do where nothing better is known and no folder is there, ``auto`` the class of
    transformers that loads a model, ``checks`` what is looked at in a folder: by default what a
    model is made of. The libraries are quiet meanwhile.
    """
    try:
        with quiet():
            _check_before(Path(path))
            yield
    except BaseException as error:
        if not _is_about_the_checkpoint(error):
            raise
        failure = Failure(path, _file_names(path, error, revision), error, auto)
        cause = _cause_of(failure, OF_MODEL if checks is None else checks)
        otherwise = CORRECT if checks is None and failure.folder.exists() else advice
        reason = f"no {what} can be loaded: {cause.problem}"
        raise SpecError(reason, advice=cause.advice or otherwise, where=path) from error


@contextmanager
def saving(name: str, folder: Path) -> Iterator[None]:
    """The same for saving in a folder. Raises OutOfSpace too."""
    try:
        with quiet(), files.written_by_library(folder, "the model"):
            yield
    except OutOfSpace:
        raise
    except OWN_FAULTS as error:
        advice = "Mend its config.json or tokenizer_config.json until save_pretrained works, or use another model."
        raise SpecError(
            f"it cannot be saved: {own_words(error)}", advice=advice, where=name
        ) from error


def _check_before(folder: Path) -> None:
    """Raises SpecError for what a library would take minutes over, or pass over in silence."""
    if not (folder / "config.json").is_file():
        return
    try:
        config = read_object(folder / "config.json")
    except SpecError:  # the library will say so too
        return
    check_counts(config)
    if (folder / "adapter_config.json").is_file() and find_spec("peft") is None:
        remark = "which is not applied to the model beside it, since peft is not installed"
        raise an_adapter(folder, remark)
    if not config.get("quantization_config"):
        refuse_integers(folder)


def _is_about_the_checkpoint(error: BaseException) -> bool:
    if isinstance(error, LogitCacheError):
        return error.where is None
    if isinstance(error, OSError) and error.errno in files.NO_SPACE:
        return False
    return isinstance(error, Exception) or type(error).__name__ == PANIC


def _cause_of(failure: Failure, checks: Checks) -> SpecError:
    """Why a checkpoint was not loaded: an error without its place. Advice may be empty."""
    if isinstance(failure.error, SpecError) and failure.folder.exists():
        return failure.error
    try:
        for check in checks if failure.folder.exists() else BY_NAME:
            cause = check(failure)
            if cause is not None:
                return cause
    except SpecError as wrong:  # its config.json is no configuration
        return wrong
    return _reason(failure)


def _reason(failure: Failure) -> SpecError:
    """What the hub or a library says."""
    path = failure.path
    error = failure.error
    if hub.needs_own_code(error):
        return hub.own_code()
    if out_of_memory(error):
        advice = "Give a smaller model, or correct the sizes in its config.json."
        return SpecError("this machine has no memory left for it", advice=advice)
    if isinstance(error, SpecError):
        explained: SpecError | None = error
    else:
        explained = hub.explain(path, error, "model") if hub.on_hub(path) else None
    if failure.folder.exists():
        return explained or SpecError(own_words(error))
    if not hub.on_hub(path):
        return SpecError("there is no such folder")
    cause = explained or SpecError(own_words(error))
    return SpecError(
        f"there is no such folder; as a hub name: {cause.problem}", advice=cause.advice
    )


def _file_names(path: str, error: BaseException, revision: str | None) -> list[str]:
    """Names of a checkpoint's files; none where the hub does not give it."""
    if not hub.on_hub(path):
        return sorted(file.name for file in Path(path).glob("*"))
    return [] if hub.explain(path, error, "model") else hub.files(path, revision)
