"""A study's plan: each trial as a configuration of `train`, each teacher as one of `dump`.

Trials that ask for the same teacher, with the same options and of the same rows, share it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from logitcache import identity
from logitcache.config.data import LANGUAGE
from logitcache.config.dump import DumpConfig
from logitcache.config.methods import METHODS
from logitcache.config.option import build, nearest_or_all
from logitcache.config.train import TrainConfig
from logitcache.config.workspace import Workspace
from logitcache.errors import FingerprintMismatch, LogitCacheError, SpecError, short, visible
from logitcache.store.files import remove_folder
from logitcache.study import builtin, folder
from logitcache.study.folder import Entry, Planned, State, StudyFolder
from logitcache.study.spec import SHARED, Spec, parse

DEFAULT = Path("logitcache-studies")
OF_STUDY = "teacher"  # as the value of `live`: the teacher that the spec names


@dataclass(frozen=True)
class Trial:
    """One student's training in a study."""

    planned: Planned
    config: TrainConfig


@dataclass(frozen=True)
class Teacher:
    """A teacher of some trials: fine-tuned where it has to be, and dumped once."""

    id: str
    task: str
    options: Mapping[str, Any]
    config: DumpConfig

    def to_dict(self) -> dict[str, Any]:
        name = self.config.teacher.name
        return {"id": self.id, "task": self.task, "name": name, "options": dict(self.options)}


@dataclass(frozen=True)
class Plan:
    """All trials of a study, in the order in which they are run, and their teachers by id."""

    spec: Spec
    folder: Path
    trials: tuple[Trial, ...]
    teachers: Mapping[str, Teacher]

    def only(self, names: Collection[str]) -> Plan:
        """The plan with the trials of these ids alone."""
        return replace(self, trials=tuple(t for t in self.trials if t.planned.id in names))

    def write(self) -> None:
        """Write ``study.json``, which keeps the trials that an earlier call has planned. One that
        failed, or whose teacher did, takes its options of now. Raises FingerprintMismatch where
        another one has other options now, or where the margin is another than before the results.
        """
        trials: dict[str, Planned] = {}
        teachers: dict[str, Mapping[str, Any]] = {}
        spec = self.spec
        if folder.is_study(self.folder):
            before = folder.read(self.folder)
            _check_margin(before, spec)
            # with the names and seeds that the study has had before
            older = parse(before.spec, "study.json", is_resolved=True)
            spec = replace(
                spec,
                seeds=tuple(dict.fromkeys([*older.seeds, *spec.seeds])),
                tasks={**older.tasks, **spec.tasks},
                students={**older.students, **spec.students},
                methods={**older.methods, **spec.methods},
            )
            joined = plan(spec, self.folder)
            now = {trial.planned.id: trial.planned for trial in joined.trials}
            failed = {entry.id for entry in before.teachers if entry.end.state is State.FAILED}
            for entry in before.trials:
                planned = now[entry.planned.id]
                if not _may_change(entry, failed):
                    _check_same(entry.planned, planned, self.folder)
                elif planned != entry.planned and entry.folder.is_dir():
                    remove_folder(entry.folder)  # checkpoints made with the former options
                trials[entry.planned.id] = planned
            teachers |= {teacher.id: teacher.to_dict() for teacher in before.teachers}
            teachers |= {teacher.id: teacher.to_dict() for teacher in joined.teachers.values()}
        trials |= {trial.planned.id: trial.planned for trial in self.trials}
        teachers |= {teacher.id: teacher.to_dict() for teacher in self.teachers.values()}
        used = {trial.teacher for trial in trials.values()}
        teachers = {name: teacher for name, teacher in teachers.items() if name in used}
        folder.write_plan(
            self.folder,
            spec.name,
            spec.to_dict(),
            spec.unsaid,
            trials.values(),
            teachers.values(),
        )


def _may_change(entry: Entry, failed_teachers: Collection[str]) -> bool:
    """Whether nothing was made with a trial's options: it, or its teacher, failed."""
    if entry.state is State.FAILED:
        return True
    return entry.state is State.PENDING and entry.planned.teacher in failed_teachers


def _check_margin(before: StudyFolder, spec: Spec) -> None:
    """A margin is declared before the results: with some of them, it stays what it was."""
    margin = before.spec.get("margin")
    if spec.margin == margin or not before.with_state(State.DONE):
        return
    declared = f"margin {margin}"
    advice = "Write it so in the spec."
    if margin is None:
        declared = "no margin"
        advice = "Leave it out of the spec, and give --margin to `logitcache study report`."
    raise FingerprintMismatch(
        expected=f"{declared}, as before the first result",
        found="none" if spec.margin is None else spec.margin,
        advice=advice,
        where=before.folder,
    )


def _check_same(before: Planned, now: Planned, where: Path) -> None:
    if (before.options, before.teacher) == (now.options, now.teacher):
        return
    names = sorted({*before.options, *now.options})
    differing = []
    for name in names:
        was = before.options.get(name)
        value = now.options.get(name)
        if was != value:
            differing.append(f"{name} = {short(was)}, now {short(value)}")
    found = differing[0] if differing else f"teacher {before.teacher}, now {now.teacher}"
    raise FingerprintMismatch(
        f"its trial {before.id} was planned with {found}. Choose another --out.", where=where
    )


def load_spec(spec: str | Path | Mapping[str, Any]) -> Spec:
    """The spec of a built-in name, a YAML file, a study's folder or a mapping. Raises SpecError."""
    if isinstance(spec, Mapping):
        return parse(spec, "spec")
    name = str(spec)
    if name in builtin.SPECS:
        return parse(builtin.SPECS[name], name)
    path = Path(spec)
    if path.is_dir():
        return parse(folder.read(path).spec, str(path / folder.STUDY), is_resolved=True)
    if not path.is_file():
        raise SpecError(
            expected="a YAML file, the folder of a study, or a built-in spec",
            found="none of these",
            advice=nearest_or_all(name, builtin.SPECS),
            where=name,
        )
    document = _yaml(path)
    if isinstance(document, dict):
        document.setdefault("name", path.stem)
    return parse(document, name)


def _yaml(path: Path) -> Any:
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
        """Refuses a key that stands twice; yaml takes the last value."""

        def compose_mapping_node(self, anchor: Any) -> Any:
            node = super().compose_mapping_node(anchor)
            keys = [key.value for key, _ in node.value]
            for number, (key, _) in enumerate(node.value):
                if key.value in keys[:number]:
                    problem = f"the key {key.value!r} twice"
                    raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            return node

    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = "" if mark is None else f" in line {mark.line + 1}, column {mark.column + 1}"
        found = f"{visible(error.problem or str(error.context))}{line}"
        raise SpecError(expected="YAML", found=found, advice="Correct it.", where=path) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())
        raise SpecError(
            expected="YAML", found=short(problem), advice="Correct it.", where=path
        ) from None


def plan(spec: Spec, out: Path) -> Plan:
    """The trials and teachers of a spec. Raises SpecError, naming the trial, for options that its
    method, its student or its teacher does not take.
    """
    trials: list[Trial] = []
    teachers: dict[str, Teacher] = {}
    # those without a teacher first: a base trial is Self-KD's first copy
    methods = sorted(
        spec.methods, key=lambda name: METHODS[spec.methods[name]["method"]].needs_teacher
    )
    for task, student, seed, method in product(spec.tasks, spec.students, spec.seeds, methods):
        cell = (task, student, method, seed)
        try:
            teacher = _teacher(spec, cell, out)
            trials.append(_trial(spec, cell, out, teacher))
        except LogitCacheError as error:
            error.inside(f"{spec.name}: {task}/{student}/{method}-seed{seed}")
            raise
        if teacher is not None:
            teachers[teacher.id] = teacher
    return Plan(spec, out, tuple(trials), teachers)


def _options(spec: Spec, cell: tuple[str, str, str, int]) -> dict[str, Any]:
    """The options of a trial; ``live: teacher`` is the study's own."""
    options = spec.options(*cell)
    if options.get("live") == OF_STUDY:
        options["live"] = spec.teacher_options(*cell).get("teacher", OF_STUDY)
    return options


def _trial(
    spec: Spec, cell: tuple[str, str, str, int], out: Path, teacher: Teacher | None
) -> Trial:
    options = _options(spec, cell)
    planned = Planned(*cell, options, None if teacher is None else teacher.id)
    values = {**options, "seed": planned.seed, "workspace": out, "out": out / "trials" / planned.id}
    if teacher is not None:
        values["cache"] = teacher.config.out
    else:
        values.pop("label_map", None)  # it is of a teacher's classes
    if not METHODS[options["method"]].reads_cache:
        for name in ("charge_dump", "dump_cost"):  # settings of a study may be those of all methods
            values.pop(name, None)
    config = build(TrainConfig, values)
    if config.method == "self-kd":
        config = replace(config, first_copy=_base_folder(spec, cell, out))
    config.check()
    return Trial(planned, config)


def _base_folder(spec: Spec, cell: tuple[str, str, str, int], out: Path) -> Path | None:
    """Where the base trial of a Self-KD trial lies; None where the spec has none."""
    task, student, _, seed = cell
    names = [name for name, options in spec.methods.items() if options["method"] == "base"]
    if not names:
        return None
    return out / "trials" / Planned(task, student, names[0], seed, {}, None).id


def _teacher(spec: Spec, cell: tuple[str, str, str, int], out: Path) -> Teacher | None:
    """The teacher of a trial; None where its method has none. Raises SpecError if not named."""
    options = _options(spec, cell)
    method = METHODS[options["method"]]
    is_language = options.get("task") in LANGUAGE  # all methods read their rows from caches
    if options.get("live") is not None or (not method.reads_cache and not is_language):
        return None
    teacher_options = spec.teacher_options(*cell)
    if "teacher" not in teacher_options:
        if not method.reads_cache:
            return None
        raise SpecError(
            expected=f"a teacher for {options['method']}",
            found="none",
            advice="Name it as `teacher` in the spec, or with --teacher.",
        )
    shared = {name: value for name, value in options.items() if name in SHARED}
    values = {**shared, **teacher_options}
    task = cell[0]
    identifier = f"{task}-{identity.digest_json(values)[:8]}"
    caches = Workspace(out).caches
    config = build(DumpConfig, {**values, "workspace": out, "out": caches / identifier})
    config.check()
    return Teacher(identifier, task, values, config)
