"""Options of ``logitcache dump``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from logitcache.config import embedding
from logitcache.config.data import (
    GROUP,
    Columns,
    check_unlabelled,
    data,
    data_seed,
    label_map,
    unlabelled,
)
from logitcache.config.option import Cost, option, validate
from logitcache.config.shapes import check_revision, check_shape, is_shape
from logitcache.config.signals import vector_signals
from logitcache.config.teacher import (
    TEACHER,
    DumpSettings,
    Finetune,
    TeacherSpec,
    device,
    revision,
    tokenizer,
    trust_remote_code,
)
from logitcache.config.workspace import Workspace
from logitcache.errors import SpecError

PARALLEL = "Parallel dumps"


def parse_part(part: Any) -> tuple[int, int]:
    """(i, n) with i from 0, of "i/n" or (i, n) with i from 1. Raises ValueError."""
    text = "/".join(map(str, part)) if isinstance(part, tuple | list) else str(part)
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError("I/N with I from 1 to N, such as 1/4")
    return int(match[1]) - 1, int(match[2])


@dataclass(frozen=True)
class DumpConfig:
    """What is asked of one dump."""

    teacher: TeacherSpec
    data: str = data()
    columns: Columns = field(default_factory=Columns)
    unlabelled: str | None = unlabelled()
    similarity: str | None = embedding.similarity()
    data_seed: int = data_seed()
    label_map: Mapping[str, str] | None = label_map()
    split: str = option("train", "Split to dump.", group="Data")
    out: Path | None = option(
        None,
        "Folder of the cache. Default: caches/DATA-SPLIT-TEACHER in the workspace.",
        group="Output",
        cost=Cost.NONE,
    )
    finetune: Finetune = field(default_factory=Finetune)
    reuse: Path | str | None = option(
        None,
        "An older cache of the same teacher: answers to texts that it holds are copied, only others are asked.",
        group="Output",
        cost=Cost.NOT_COUNTED,
    )
    settings: DumpSettings = field(default_factory=DumpSettings)
    workspace: Workspace = field(default_factory=Workspace)
    overwrite: bool = option(False, "Replace an existing cache.", group="Output", cost=Cost.NONE)
    part: tuple[int, int] | None = option(
        None,
        "I/N: write that range of the shards alone. The process that writes the last shard seals the cache.",
        parse=parse_part,
        annotation="str | tuple[int, int]",
        group=PARALLEL,
        cost=Cost.NOT_COUNTED,
    )

    def check(self) -> None:
        """Raises SpecError for values, or combinations, that are wrong whatever the data."""
        validate(self)
        check_unlabelled(self.columns.task, self.unlabelled)
        embedding.check_similarity(self.columns.task, self.similarity)
        is_model = self.teacher.answers is None and not is_shape(self.teacher.name)
        embedding.check_teacher(
            self.columns.task,
            self.teacher.pooling,
            own_codec=self.settings.codec != DumpSettings.codec,
            is_trained=is_model and self.finetune.mode != "always",
        )
        self._check_signals()
        if self.teacher.answers is None:
            check_shape(self.teacher.name, "--teacher")
            check_revision(self.teacher.name, self.teacher.revision)
            self.finetune.check(self.teacher.name)
        else:
            self._check_answers()

    def _check_signals(self) -> None:
        """Refuse a codec of logits that are not kept, and teachers of folds beside other signals."""
        self.settings.check_signals()
        if vector_signals(self.settings.signals) and self.finetune.folds is not None:
            raise SpecError(
                expected="one teacher, whose signals are kept",
                found="one for each fold",
                advice="Leave --folds out, or --signal.",
                where="--signal",
            )

    def _check_answers(self) -> None:
        """Refuse what only a model that is asked has a use for."""
        options = {
            "--reuse": self.reuse is not None,
            "--folds": self.finetune.folds is not None,
            "--finetune always": self.finetune.mode == "always",
            "--tokenizer": self.teacher.tokenizer is not None,
            "--revision": self.teacher.revision is not None,
            "--signal": bool(vector_signals(self.settings.signals)),
        }
        for flag, is_given in options.items():
            if is_given:
                raise SpecError(
                    expected=f"a model beside {flag}",
                    found="answers that exist already, so that no model is asked",
                    advice=f"Leave {flag} out.",
                    where=self.teacher.name,
                )


@dataclass(frozen=True)
class WorkersConfig:
    """How many processes of the command line share a dump."""

    workers: int | None = option(
        None,
        "Number of processes, each with one part of the dump.",
        minimum=1,
        group=PARALLEL,
        cost=Cost.NOT_COUNTED,
    )


@dataclass(frozen=True)
class AgainConfig:
    """Who answered which rows, for a cache that can name them: ``repair``, ``verify --live``."""

    teacher: str | None = option(None, "Default: the teacher that the cache names.", group=TEACHER)
    tokenizer: str | None = tokenizer()
    data: str | None = option(None, "Default: the data that the cache names.", group=GROUP)
    columns: Columns = field(default_factory=Columns)
    unlabelled: str | None = unlabelled()
    data_seed: int = data_seed()
    workspace: Workspace = field(default_factory=Workspace)
    revision: str | None = revision()
    trust_remote_code: bool = trust_remote_code()
    pooling: str | None = embedding.pooling(TEACHER)
    finetune: Finetune = field(default_factory=Finetune)
    device: str | None = device()

    def dump_config(self, teacher: str, data: str, dtype: str) -> DumpConfig:
        """The dump whose teacher and rows these are; what is not named here is as given."""
        return DumpConfig(
            teacher=TeacherSpec(
                name=self.teacher or teacher,
                tokenizer=self.tokenizer,
                dtype=dtype,
                device=self.device,
                revision=self.revision,
                trust_remote_code=self.trust_remote_code,
                pooling=self.pooling,
            ),
            data=self.data or data,
            columns=self.columns,
            unlabelled=self.unlabelled,
            data_seed=self.data_seed,
            finetune=self.finetune,
            workspace=self.workspace,
        )
