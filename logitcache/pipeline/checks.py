"""What the command line refuses while it reads its options; a function has to refuse it by itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from logitcache.cache import Cache
from logitcache.data.names import parse_map
from logitcache.errors import SpecError, short
from logitcache.store.remote import place
from logitcache.student.job import TrainConfig
from logitcache.workspace import here

CHOICES = {
    "finetune": ("auto", "always", "never"),
    "dtype": ("float32", "bfloat16", "float16"),
    "codec": ("float16", "float32"),
    "on_nonfinite": ("stop", "skip"),
    "format": ("arrow", "zarr"),
    "method": ("base", "ls", "tf-reg", "self-kd", "kd"),
    "init": ("pretrained", "random"),
    "teachers": ("mean",),
    "precision": ("fp32", "bf16", "fp16"),
    "select": ("best", "last"),
}
LEAST: dict[str, int | None] = {  # whole numbers
    **dict.fromkeys(("seed", "data_seed", "finetune_seed")),
    **dict.fromkeys(
        ("batch_size", "finetune_batch_size", "accumulate", "batch_tokens", "shard_rows", "checkpoint_steps"), 1
    ),
    **dict.fromkeys(("folds", "max_length", "rows"), 2),
    "vocabulary": 100,
}
NUMBERS = {
    *("alpha", "a", "temperature", "epochs", "learning_rate", "weight_decay", "warmup"),
    *("finetune_epochs", "finetune_learning_rate"),
}
NAMES = {"teacher", "student", "tokenizer"}  # of the hub, or paths
PATHS = {"out", "workspace", "plot"}
WORDS = {"split", "metric", "baseline", "revision", "device", "report_to", "text", "text_pair", "label", "name"}
FLAGS = {"trust_remote_code", "overwrite", "tau_squared", "group_by_length"}
FUNCTIONS = {"notify", "begin", "on_step"}
OPTIONAL = {  # where None is the default
    *(field.name for field in fields(TrainConfig) if field.default is None),
    *("text", "text_pair", "label", "labels", "label_map", "name"),
    *("finetune_learning_rate", "shard_rows", "device", "part", "reuse", "plot"),
}


def plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options as the command line would give them: numbers of any library as Python's own, names as strings, paths as
    Path. Raises SpecError for a value that the option of that name would not take.
    """
    return {name: _value(name, value) for name, value in given.items()}


def _value(name: str, value: Any) -> Any:
    if value is None and name in OPTIONAL:
        return None
    if name in CHOICES and not (isinstance(value, str) and value in CHOICES[name]):
        raise unexpected(name, " or ".join(CHOICES[name]), value)
    if name in LEAST or name == "bootstrap":
        return _whole(name, value)
    if name in NUMBERS:
        if isinstance(value, bool) or not isinstance(value, Real):
            raise unexpected(name, "a number", value)
        return value if isinstance(value, int) else float(value)
    if name == "reuse":
        return place(os.fspath(path_of(name, value)) if not isinstance(value, str) else value)
    if name in NAMES or name in PATHS:
        path = path_of(name, value)
        if name in PATHS:
            return here(value) if isinstance(value, str) else path
        return os.fspath(value)
    if name == "cache":
        return _caches(value)
    if name == "label_map":
        return _label_map(value)
    for names, kind, expected in (
        (WORDS, str, "text"),
        (FLAGS, bool, "True or False"),
        (FUNCTIONS, Callable, "a function"),
    ):
        if name in names and not isinstance(value, kind):  # type: ignore[arg-type]
            raise unexpected(name, expected, value)
    return value


def _whole(name: str, value: Any) -> int:
    least = LEAST.get(name)
    if isinstance(value, bool) or not isinstance(value, Integral) or (least is not None and int(value) < least):
        raise unexpected(name, "a whole number" if least is None else f"a whole number from {least}", value)
    return int(value)


def path_of(name: str, value: Any) -> Path:
    if not isinstance(value, str | os.PathLike):
        raise unexpected(name, "a path" if name not in NAMES else "a path or a name", value)
    return Path(value)


def _label_map(value: Any) -> dict[str, str]:
    """Names by names, or such as the command line writes them; class numbers are names too."""
    if isinstance(value, str):
        return parse_map(value)
    if not isinstance(value, Mapping) or not all(isinstance(v, str | int) for pair in value.items() for v in pair):
        raise unexpected("label_map", "a mapping of the data's classes to the teacher's", value)
    return {str(data): str(teacher) for data, teacher in value.items()}


def _caches(value: Any) -> tuple[Path | str, ...] | None:
    """Where one cache or several are, folders or URLs; each named, or an open Cache. None where there are none."""
    several = [value] if isinstance(value, str | os.PathLike | Cache) else value
    if not isinstance(several, Iterable):
        raise unexpected("cache", "a folder, a URL or a Cache, or several", value)
    return tuple(_cache(each) for each in several) or None


def _cache(value: Any) -> Path | str:
    if isinstance(value, Cache):
        return place(str(value.where))
    return place(value) if isinstance(value, str) else path_of("cache", value)


def unexpected(name: str, expected: str, value: Any) -> SpecError:
    return SpecError(f"{name}: expected {expected}, found {short(repr(value))}. Correct it.")


def part_of(part: str | tuple[int, int] | None) -> tuple[int, int] | None:
    """(i, n) with i from 0, of "i/n" or (i, n) with i from 1. Raises SpecError."""
    if part is None:
        return None
    index, _, parts = part.partition("/") if isinstance(part, str) else (str(part[0]), "/", str(part[1]))
    if not (index.isdecimal() and parts.isdecimal() and 1 <= int(index) <= int(parts)):
        raise SpecError(f"--part: expected I/N with I from 1 to N, such as 1/4, found {part!r}. Correct it.")
    return int(index) - 1, int(parts)
