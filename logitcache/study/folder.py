"""The folder of a study: its plan, and what has become of each trial and each teacher.

``study.json`` holds the resolved spec and the list of trials. A trial is a result folder as
`logitcache train` writes it, ``trials/TASK/STUDENT/METHOD-seedN``; the file of that name with
``.json`` behind it says how the trial ended. ``teachers/ID.json`` says the same of a teacher. The
folder is also the workspace of its trials, with ``caches``, ``teachers`` and ``tokenizers``; a
report needs none of these but ``teachers/*.json``. Nothing here loads torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from logitcache.config.workspace import RESULT, Workspace
from logitcache.data.sources import corpus, docstrings
from logitcache.errors import FormatError, SpecError
from logitcache.store.files import make_folder, remove
from logitcache.store.json_files import read_json, write_json

FORMAT = "logitcache-study/1"
STUDY = "study.json"


class State(StrEnum):
    """What has become of a trial or of a teacher."""

    PENDING = "pending"  # it has not run, or has not ended
    DONE = "done"
    FAILED = "failed"  # it is tried again by the next `study run`
    DIVERGED = "diverged"  # its student's answers are no numbers; it would diverge again


@dataclass(frozen=True)
class End:
    """How a trial or a teacher ended."""

    state: State
    error: Mapping[str, str] | None = None  # kind and message, where it failed or diverged
    # from its beginning to its end; of a trial, without the making of its teacher
    seconds: float | None = None
    figures: Mapping[str, Any] | None = None  # what else is recorded of it


PENDING = End(State.PENDING)


@dataclass(frozen=True)
class Planned:
    """A trial as the study's plan lists it. ``task``, ``student`` and ``method`` are names of the
    spec; ``options`` are those of `train` that the spec gives.
    """

    task: str
    student: str
    method: str
    seed: int
    options: Mapping[str, Any]
    teacher: str | None  # id

    @property
    def id(self) -> str:
        return f"{self.task}/{self.student}/{self.method}-seed{self.seed}"

    def to_dict(self) -> dict[str, Any]:
        return {"id": self.id, "folder": f"trials/{self.id}", **vars(self)}


@dataclass(frozen=True)
class Entry:
    """A trial of a study that is read back."""

    planned: Planned
    folder: Path  # of its result
    end: End

    @property
    def state(self) -> State:
        return self.end.state


@dataclass(frozen=True)
class TeacherEntry:
    """A teacher of a study: its name, the task it answers for, and how it ended.

    ``figures`` hold ``cache`` and ``folder`` (paths relative to the study; folder is None where
    the teacher was not fine-tuned here), ``rows`` of the cache, ``teacher_rows`` (rows that the
    teacher was asked to fill it), ``finetune_seconds``, ``dump_seconds`` and ``metrics``
    {split: {name: value}}.
    """

    id: str
    task: str
    name: str
    options: Mapping[str, Any]
    end: End

    def to_dict(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "end"}

    @property
    def figures(self) -> Mapping[str, Any]:
        return self.end.figures or {}

    @property
    def metrics(self) -> Mapping[str, Mapping[str, float]]:
        """Scores of the teacher by split; empty until it has answered."""
        return dict(self.figures.get("metrics", {}))


@dataclass(frozen=True)
class StudyFolder:
    """A study as its folder tells it. ``spec`` is the resolved spec as JSON; ``unsaid`` are the
    settings that the paper behind a built-in spec does not give, one sentence each.
    """

    folder: Path
    name: str
    spec: Mapping[str, Any]
    unsaid: tuple[str, ...]
    trials: tuple[Entry, ...]
    teachers: tuple[TeacherEntry, ...]

    def with_state(self, state: State | str) -> tuple[Entry, ...]:
        """The trials in this state, in the order of the plan."""
        return tuple(entry for entry in self.trials if entry.state == state)


def is_study(folder: Path) -> bool:
    """Whether a folder holds a study."""
    return (folder / STUDY).is_file()


def check_foreign(folder: Path) -> None:
    """Raises SpecError for a folder that holds something else than a study."""
    if is_study(folder) or not folder.exists():
        return
    paths = sorted(folder.iterdir()) if folder.is_dir() else [folder]
    names = [path.name for path in paths if not _is_built_in(path)]
    if names:
        raise SpecError(
            expected="the folder of a study, or an empty one",
            found=", ".join(names[:3]),
            advice="Choose another --out.",
            where=folder,
        )


def _is_built_in(path: Path) -> bool:
    """Whether a folder holds built-in data alone, which a --dry-run or an early end has left."""
    built = tuple(f"{name}-" for name in (corpus.NAME, *docstrings.NAMES))
    is_data = path.name == Workspace(path.parent).data.name and path.is_dir()
    return is_data and all(file.name.lstrip(".").startswith(built) for file in path.iterdir())


def read(folder: Path) -> StudyFolder:
    """The study in a folder. Raises SpecError where there is none, FormatError for a broken file."""
    if not is_study(folder):
        raise SpecError(
            expected=f"the folder of a study (with {STUDY})",
            found="none",
            advice="Make one with `logitcache study run`.",
            where=folder,
        )
    document = read_json(folder / STUDY)
    if document.get("format") != FORMAT:
        found = repr(document.get("format"))
        raise FormatError(expected=f"format {FORMAT!r}", found=found, where=folder / STUDY)
    try:
        return StudyFolder(
            folder=folder,
            name=document["name"],
            spec=document["spec"],
            unsaid=tuple(document["unsaid"]),
            trials=tuple(_entry(folder, trial) for trial in document["trials"]),
            teachers=tuple(_teacher(folder, teacher) for teacher in document["teachers"]),
        )
    except (KeyError, TypeError) as error:
        raise FormatError(
            expected="a study's plan", found=f"a field that is wrong: {error}", where=folder / STUDY
        ) from None


def _entry(folder: Path, trial: Mapping[str, Any]) -> Entry:
    planned = Planned(**{field.name: trial[field.name] for field in fields(Planned)})
    return Entry(planned, folder / "trials" / planned.id, end_of(folder, planned))


def _teacher(folder: Path, teacher: Mapping[str, Any]) -> TeacherEntry:
    end = teacher_end(folder, teacher["id"])
    return TeacherEntry(teacher["id"], teacher["task"], teacher["name"], teacher["options"], end)


def end_of(folder: Path, trial: Planned) -> End:
    """How a trial ended: done where its result is there. Raises FormatError for a broken file."""
    end = _read_end(_end_path(folder, trial))
    is_there = (folder / "trials" / trial.id / RESULT).is_file()
    if is_there and end.state is not State.DONE:  # a kill came before its end was recorded
        return End(State.DONE)
    if end.state is State.DONE and not is_there:
        return PENDING
    return end


def teacher_end(folder: Path, teacher: str) -> End:
    """How a teacher ended."""
    return _read_end(folder / "teachers" / f"{teacher}.json")


def forget_failures(folder: Path) -> None:
    """Forget the trials and teachers that failed, so that they are tried again."""
    study = read(folder)
    for entry in study.with_state(State.FAILED):
        remove(folder / "trials", f"{entry.planned.id}.json")
    for teacher in study.teachers:
        forget_teacher(folder, teacher.id)


def forget_teacher(folder: Path, teacher: str) -> None:
    """Forget that a teacher failed, if it did."""
    if teacher_end(folder, teacher).state is State.FAILED:
        remove(folder / "teachers", f"{teacher}.json")


def _end_path(folder: Path, trial: Planned) -> Path:
    return folder / "trials" / f"{trial.id}.json"


def _read_end(path: Path) -> End:
    try:
        document = read_json(path)
    except FileNotFoundError:
        return PENDING
    try:
        state = State(document["state"])
        return End(state, document["error"], document["seconds"], document["figures"])
    except (KeyError, ValueError) as error:
        raise FormatError(
            expected="how a trial or a teacher ended",
            found=f"a field that is wrong: {error}",
            advice="Remove this file: the next `logitcache study run` makes it again.",
            where=path,
        ) from None


def record_end(folder: Path, trial: Planned, end: End) -> None:
    """Write how a trial ended."""
    _write_end(_end_path(folder, trial), end)


def record_teacher(folder: Path, teacher: str, end: End) -> None:
    """Write how a teacher ended."""
    _write_end(folder / "teachers" / f"{teacher}.json", end)


def _write_end(path: Path, end: End) -> None:
    make_folder(path.parent)
    write_json(path, {**vars(end), "state": str(end.state)})


def write_plan(
    folder: Path,
    name: str,
    spec: Mapping[str, Any],
    unsaid: Iterable[str],
    trials: Iterable[Planned],
    teachers: Iterable[Mapping[str, Any]],
) -> None:
    """Write ``study.json``."""
    make_folder(folder)
    document = {
        "format": FORMAT,
        "name": name,
        "spec": spec,
        "unsaid": list(unsaid),
        "trials": [trial.to_dict() for trial in trials],
        "teachers": list(teachers),
    }
    write_json(folder / STUDY, document)
