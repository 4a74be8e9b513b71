"""A spec: its layers, its refusals, and that it is read without torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.config.study import StudyConfig
from logitcache.errors import SpecError
from logitcache.study.builtin import SEEDS, SPECS
from logitcache.study.overriding import overridden
from logitcache.study.plan import load_spec, plan
from logitcache.study.spec import parse
from tests.commands import run_fresh

SMALL: dict[str, Any] = {
    "tasks": ["sst5"],
    "students": ["2x128"],
    "methods": ["base", "kd"],
    "seeds": [1, 2],
    "teacher": "4x256",
}


def of(**changes: Any) -> dict[str, Any]:
    return {**SMALL, **changes}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (of(task=["sst5"]), "'task'. Did you mean tasks"),
        (of(settings={"epoch": 3}), "settings: expected an option of train, found 'epoch'. Did you mean epochs"),
        (of(settings={"seed": 3}), "The study gives it itself"),
        (of(teacher={"teacher": "4x256", "epochs": 3}), "an option of dump, found 'epochs'"),
        (of(seeds=[1, 2, 1]), "seeds: expected each seed once (1 is given twice)"),
        (of(seeds=["a"]), "seeds: expected whole numbers"),
        (of(seeds=[]), "at least one entry under seeds, found []."),
        ({"methods": ["base"]}, "at least one entry under tasks, found none."),
        (of(seeds=3), "seeds: expected a list of seeds, found 3. Write [3] for this seed, or a list such as [1, 2, 3]"),
        (of(baseline="ls"), "baseline: expected one of the methods, found 'ls'. Name one of base, kd, or add ls to"),
        (of(methods={"kd": {"alpha": 2}}), "sst5/2x128/kd-seed1: alpha: expected a number from 0 to 1"),
        (of(methods={"base": {"alpha": 0.5}}), "expected method ls or tf-reg or self-kd or kd, found base"),
        (of(methods=["kdd"]), "one of base, ls"),
        (of(students={"a b": "2x128"}), "a name of letters"),
        (of(students={"small": {"init": "random"}}), "small: student: expected a value of student"),
        (of(teacher={}), "expected a teacher for kd, found none"),
        (of(overrides=[{"students": "3x128", "set": {}}]), "overrides[0]: students"),
        (of(overrides=[{"student": "2x128"}]), "Did you mean students"),
        (of(margin=3), "margin: expected a number between 0 and 1"),
        ([], "a mapping with tasks"),
        (of(tasks=5), "spec: tasks: expected a list of names, or options by name, found 5"),
        (of(methods={"kd": 5}), "expected the name of a method, or a Term, found 5"),
        (of(baseline=["base"]), "baseline: expected one of the methods"),
        (of(split=["test"]), "spec: split: expected the name of a split"),
        (of(unsaid=5), "spec: unsaid: expected a list of sentences, found 5"),
        (of(settings=[1]), "spec: settings: expected options by name, found [1]"),
    ],
)  # fmt: skip
def test_what_a_spec_cannot_be_is_refused_in_one_line(document: Any, words: str) -> None:
    with pytest.raises(SpecError) as refused:
        plan(parse(document, "spec"), Path("out"))
    assert words in str(refused.value)


def test_keys_without_a_value_are_as_if_left_out_and_one_sentence_is_a_list_of_one() -> None:
    spec = parse(of(settings=None, overrides=None, unsaid="AdamW"), "spec")
    assert (spec.settings, spec.overrides, spec.unsaid) == ({}, (), ("AdamW",))


def test_options_are_layered() -> None:
    document = of(
        settings={"epochs": 1, "learning_rate": "2e-5", "max_length": 16},
        tasks={"sst5": {"data": "sst5", "epochs": 2, "teacher": {"finetune_epochs": 9}}},
        students={"small": {"student": "2x128", "max_length": 32}},
        methods={"kd": {"alpha": 0.4}, "kd-9": {"method": "kd", "alpha": 0.9}},
        overrides=[
            {"methods": "kd", "seeds": 2, "set": {"alpha": 0.7}},
            {"seeds": [2], "teacher": {"finetune_seed": "seed"}},
        ],
    )
    study = plan(parse(document, "spec"), Path("out"))
    configs = {trial.planned.id: trial.config for trial in study.trials}
    alphas = {name: config.alpha for name, config in configs.items()}
    assert alphas == {
        "sst5/small/kd-seed1": 0.4,
        "sst5/small/kd-9-seed1": 0.9,
        "sst5/small/kd-seed2": 0.7,
        "sst5/small/kd-9-seed2": 0.9,
    }
    assert {(c.epochs, c.learning_rate, c.max_length) for c in configs.values()} == {
        (2.0, 2e-5, 32)
    }
    teachers = list(study.teachers.values())  # one for each seed, shared by both methods
    assert [t.config.finetune.seed for t in teachers] == [0, 2]
    assert {(t.config.finetune.epochs, t.config.settings.max_length) for t in teachers} == {
        (9.0, 32)
    }


@given(
    seeds=st.sets(st.integers(0, 99), min_size=1, max_size=4),
    methods=st.sets(st.sampled_from(["base", "ls", "tf-reg", "self-kd", "kd"]), min_size=1),
    epochs=st.integers(1, 9),
)
def test_a_resolved_spec_is_a_spec(seeds: set[int], methods: set[str], epochs: int) -> None:
    """What study.json holds plans the same trials."""
    config = StudyConfig(seeds=tuple(seeds), methods=tuple(methods), epochs=float(epochs))
    override = {"methods": ["kd"], "set": {"alpha": 0.9}}
    document = of(methods=["base", "ls", "tf-reg", "self-kd", "kd"], overrides=[override])
    spec = overridden(parse(document, "spec"), config)
    again = parse(spec.to_dict(), "study.json", is_resolved=True)
    assert plan(again, Path("out")) == plan(spec, Path("out"))
    assert {trial.planned.seed for trial in plan(again, Path("out")).trials} == seeds


def test_values_of_the_command_go_before_the_spec() -> None:
    config = StudyConfig(student="1x32", teacher="2x64", rows=100, set={"batch_size": "8"})
    study = plan(overridden(parse(of(settings={"rows": 7}), "spec"), config), Path("out"))
    assert {(t.config.student, t.config.rows, t.config.batch_size) for t in study.trials} == {
        ("1x32", 100, 8)
    }
    assert [t.config.teacher.name for t in study.teachers.values()] == ["2x64"]
    with pytest.raises(SpecError, match="--methods"):
        overridden(parse(SMALL, "spec"), StudyConfig(methods=("kdd",)))


def test_data_of_several_tasks_are_folders(tmp_path: Path) -> None:
    for name in ("SST-2", "CoLA"):
        (tmp_path / name).mkdir()
    spec = parse(of(tasks={"sst2": "glue/sst2", "cola": "glue/cola"}), "spec")
    tasks = overridden(spec, StudyConfig(data=str(tmp_path))).tasks
    assert tasks["sst2"]["data"] == f"glue/sst2={tmp_path / 'SST-2'}"
    assert tasks["cola"]["data"] == f"glue/cola={tmp_path / 'CoLA'}"
    (tmp_path / "CoLA").rmdir()
    with pytest.raises(SpecError, match="none for cola"):
        overridden(spec, StudyConfig(data=str(tmp_path)))


def test_a_file_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("tasks: [a\nseeds: 1")
    with pytest.raises(
        SpecError, match=r"expected YAML, found .* in line 2, column 6\. Correct it"
    ):
        load_spec(path)
    with pytest.raises(SpecError, match="a YAML file, the folder of a study, or a built-in spec"):
        load_spec(tmp_path / "nothing.yaml")


@pytest.mark.parametrize("text", ["seeds: [1]\nseeds: [2]", "methods:\n  kd: {alpha: 0}\n  kd: {}"])
def test_a_key_that_stands_twice_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=r"found the key '(seeds|kd)' twice in line [23], column"):
        load_spec(path)


def test_a_spec_is_checked_without_torch(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("tasks: [sst5]\nstudents: [2x128]\nmethods: [kdd]\nseeds: [1]")
    script = (
        "import sys; from logitcache_cli.main import cli\n"
        "try: cli()\n"
        "finally: print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    done = run_fresh(script, "study", "run", str(path))
    assert done.returncode == 2, done.stderr
    assert done.stdout == "[]\n"


def test_the_built_in_specs_are_the_papers() -> None:
    """Kobyzev et al. 2023, tables 10 to 12: what differs between their experiments."""
    names = [name for name in SPECS if name.startswith("kobyzev")]
    plans = {name: plan(load_spec(name), Path("out")) for name in names}
    sizes = {name.removeprefix("kobyzev-table"): len(study.trials) for name, study in plans.items()}
    glue = 7 * 5 * 5
    assert sizes == {"1": glue, "2": glue, "3": glue, "4": 20, "5": 20, "7": glue, "8": 48, "9": 24}
    assert sum(sizes.values()) > 600  # "more than 600 distinct trials"
    for study in plans.values():
        for trial in study.trials:
            config = trial.config
            assert config.epochs == 30
            assert config.batch_size == (16 if config.student == "distilgpt2" else 32)
            is_scratch = config.init == "random" and config.data == "sst5"
            alphas = {"base": None, "ls": 0.1, "self-kd": 0.5}
            assert config.alpha == alphas.get(config.method, 0.9 if is_scratch else 0.5)
            assert config.a == (0.95 if config.method == "tf-reg" else None)
        assert study.spec.unsaid
    rates = {t.planned.task: t.config.learning_rate for t in plans["kobyzev-table3"].trials}
    slow = dict.fromkeys(("cola", "mrpc", "qnli"), 1e-5)
    assert rates == {**dict.fromkeys(("rte", "sst2", "mnli", "qqp"), 2e-5), **slow}
    fewrel = plans["kobyzev-table5"]
    assert {t.config.learning_rate for t in fewrel.trials} == {1.5e-5}
    assert {(t.config.data_seed, t.config.seed) for t in fewrel.trials} == {(s, s) for s in SEEDS}
    assert len(fewrel.teachers) == 5


def test_the_built_in_pretrainings_have_the_recipes_of_the_code() -> None:
    """Bui et al. 2024: sides of other rates and norms, and bui-fair, where only the teacher differs."""
    for name, hours, kd_warmup in (("bui-6layer", 4, 0.06), ("bui-12layer", 11.3, 0.12)):
        recipes = {}
        for trial in plan(load_spec(name), Path("out")).trials:
            config = trial.config
            assert config.pretraining.budget.amount == pytest.approx(hours * 3600)
            recipes[config.method] = (config.norm, config.learning_rate, config.warmup)
        kd = dict.fromkeys(
            ("minilm", "vanilla-kd", "vanilla-kd-authors", "tinybert-bui"),
            ("post", 5e-4, kd_warmup),
        )
        assert recipes == {"base": ("pre", 1e-3, 0.06), **kd}
    named = replace(
        load_spec("bui-fair"), teacher={**load_spec("bui-fair").teacher, "teacher": "mine"}
    )
    fair = plan(named, Path("out"))
    configs = [trial.config for trial in fair.trials]
    assert len({(one.norm, one.learning_rate, one.warmup) for one in configs}) == 1
    paid = [(one.live, one.pretraining.charge_dump) for one in configs]
    assert set(paid) == {(None, None), ("mine", None), (None, 1), (None, 10)}
    signals = sorted(teacher.config.settings.signals for teacher in fair.teachers.values())
    assert signals == [
        ("attention-input:-1",),
        ("attention-input:1", "attention-input:-1", "hidden:-1"),
        ("logits",),
    ]
    grid = plan(load_spec("bui-finetune"), Path("out")).trials
    assert len(grid) == 7 * 4 * 2
    assert {(t.config.epochs, t.config.select) for t in grid} == {(5, "best")}
