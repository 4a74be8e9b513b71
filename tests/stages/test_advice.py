"""Advice about teachers, students and runs is followed to the letter. What trains nothing is asked:
a run is resolved as far as it would be before its first step.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from logitcache.api import dump, load
from logitcache.config.budget import Pretraining
from logitcache.config.option import build
from logitcache.config.train import EPOCHS
from logitcache.data.folds import check_folds
from logitcache.identity import check_rows
from logitcache.reporter import SILENT
from logitcache.stages.folder import check_foreign, is_done
from logitcache.stages.in_memory import place_of
from logitcache.stages.preflight import checkpoint
from logitcache.stages.train import prepared, train
from logitcache.teacher.repair import diagnose
from tests.advice import Attempts, Cases, arrives, not_followed
from tests.conftest import singles
from tests.stages.test_advice_of_machines import CASES as MACHINES
from tests.stages.worlds import World

CASES = Cases()
follow = CASES.follow
UNHEARD = [{"text": f"unheard of {i}", "label": "pos"} for i in range(9)]


# Which cache teaches.


@follow("Make one: logitcache dump --teacher TEACHER --data DATA")
def no_cache(world: World) -> Attempts:
    yield world.runs(method="kd")
    dump(str(world.teacher), str(world.data), workspace=world.config.workspace.folder, device="cpu")
    yield world.runs(method="kd")


@follow("or name one with --cache.")
def no_cache_in_the_workspace(world: World) -> Attempts:
    yield world.runs(method="kd")
    yield world.runs(method="kd", cache=world.cache)


@follow("Choose one with --cache")
def two_caches(world: World) -> Attempts:
    folders = [world.copied(name) for name in "ab"]
    yield world.runs(method="kd")
    yield world.runs(method="kd", cache=folders[0])


@follow("Ask about the others alone: logitcache dump --teacher TEACHER --data DATA --reuse ")
def a_cache_of_most_rows(world: World) -> Attempts:
    part = world.copied("part")
    data = world.rows([*singles(60, 0), *UNHEARD])
    how = {"method": "kd", "data": data}
    yield world.runs(**how)
    out = world.folder / "whole"
    dump(str(world.teacher), data, reuse=part, out=out, max_length=48, device="cpu")
    yield world.runs(**how, cache=out)


@follow("Ask about these alone: logitcache dump --reuse ")
def a_named_cache_of_most_rows(world: World) -> Attempts:
    data = world.rows([*singles(60, 0), *UNHEARD])
    how = {"method": "kd", "data": data}
    yield world.runs(**how, cache=world.cache)
    out = world.folder / "whole"
    dump(str(world.teacher), data, reuse=world.cache, out=out, max_length=48, device="cpu")
    yield world.runs(**how, cache=out)


# A budget.


def budgeted(budget: str, **options: Any) -> dict[str, Any]:
    return {"epochs": EPOCHS, "pretraining": build(Pretraining, {"budget": budget, **options})}


@follow("Give the folder that `logitcache pretrain` printed.")
def steps_of_no_run(world: World) -> Attempts:
    yield world.runs(**budgeted(f"steps-of:{world.folder}", regime="repeat"))
    table = pa.table({"progress": [0.5, 1.0]})
    pq.write_table(table, world.folder / "steps.parquet")
    yield world.runs(**budgeted(f"steps-of:{world.folder}", regime="repeat"))


@follow("or read it again: --regime repeat.")
def text_shorter_than_its_budget(world: World) -> Attempts:
    yield world.runs(**budgeted("steps=1000"))
    yield world.runs(**budgeted("steps=1000", regime="repeat"))


@follow("Say it with --dump-cost")
def a_dump_of_unknown_cost(world: World) -> Attempts:
    how = {"method": "kd", "cache": world.copied("moved")}
    yield world.runs(**how, **budgeted("1h"))
    yield world.runs(**how, **budgeted("1h", dump_cost="310s"))


@follow("or charge nothing: --charge-dump 0.")
def a_dump_that_is_not_charged(world: World) -> Attempts:
    how = {"method": "kd", "cache": world.copied("moved")}
    yield world.runs(**how, **budgeted("1h"))
    yield world.runs(**how, **budgeted("1h", charge_dump=0))


@follow("Give it in seconds.")
def a_dump_cost_in_another_unit(world: World) -> Attempts:
    how = {"method": "kd", "cache": world.cache}
    yield world.runs(**how, **budgeted("1h", dump_cost="1e9flops"))
    yield world.runs(**how, **budgeted("1h", dump_cost="9s"))


@follow("Give more, or share the dump: --charge-dump 10.")
def a_dump_that_costs_more_than_the_budget(world: World) -> Attempts:
    how = {"method": "kd", "cache": world.cache}
    yield world.runs(**how, **budgeted("1m", dump_cost="2m"))
    yield world.runs(**how, **budgeted("1m", dump_cost="2m", charge_dump=10))


# Which cache teaches, and of what.


@follow("or dump without --reuse.")
def reuse_with_another_length(world: World) -> Attempts:
    how = {"out": world.folder / "out", "device": "cpu"}
    yield lambda: dump(str(world.teacher), str(world.data), reuse=world.cache, max_length=20, **how)
    yield lambda: dump(str(world.teacher), str(world.data), max_length=20, **how)


@follow("Name the same teacher and settings")
def reuse_with_the_same_length(world: World) -> Attempts:
    how = {"out": world.folder / "out", "device": "cpu"}
    yield lambda: dump(str(world.teacher), str(world.data), reuse=world.cache, max_length=20, **how)
    yield lambda: dump(str(world.teacher), str(world.data), reuse=world.cache, max_length=48, **how)


@follow("Name a new --out.")
def reuse_of_itself(world: World) -> Attempts:
    cache = world.copied("a")
    how = {"reuse": cache, "max_length": 48, "device": "cpu"}
    yield lambda: dump(str(world.teacher), str(world.data), out=cache, **how)
    yield lambda: dump(str(world.teacher), str(world.data), out=world.folder / "b", **how)


@follow("Bring one of them back")
def a_plan_and_a_manifest_that_are_broken(world: World) -> Attempts:
    cache = world.copied("a")
    for name in ("plan.json", "manifest.json"):
        (cache / name).write_text("{")
    yield lambda: diagnose(cache)
    shutil.copy(world.cache / "plan.json", cache)
    yield lambda: diagnose(cache)


@follow("Use a teacher that was asked about these rows.")
def answers_to_other_rows(world: World) -> Attempts:
    mine, theirs = np.arange(3), np.array([0, 1, 9])
    yield lambda: check_rows(mine, mine, theirs, "teacher")
    yield lambda: check_rows(mine, mine, mine, "teacher")


# Rows and their labels.


@follow("Name the column of the labels, for example --label verdict.")
def labels_under_another_name(world: World) -> Attempts:
    rows = [{"text": row["text"], "verdict": row["label"]} for row in singles(20, 1)]
    data = world.rows(rows)
    yield world.runs(data=data)
    columns = replace(world.config.columns, label="verdict")
    yield world.runs(data=data, columns=columns)


@follow("Give rows of another class too")
def one_class(world: World) -> Attempts:
    rows = singles(20, 1)
    yield world.runs(data=world.rows([{**row, "label": "pos"} for row in rows]))
    yield world.runs(data=world.rows(rows, "more"))


@follow("Name other rows, or leave --unlabelled out.")
def no_unlabelled_rows(world: World) -> Attempts:
    held = [json.loads(line) for line in (world.data / "test.jsonl").read_text().splitlines()]
    more = world.write(world.folder / "more.jsonl", [{"text": row["text"]} for row in held])
    how = {"method": "kd", "cache": world.cache}
    yield world.runs(unlabelled=str(more), **how)
    yield world.runs(**how)


@follow("Add one, or give --select last.")
def the_best_without_dev(world: World) -> Attempts:
    data = world.rows(singles(20, 1))
    shutil.copy(world.data / "test.jsonl", data)
    yield world.runs(data=data, select="best")
    yield world.runs(data=data, select="last")


@follow("Give more rows of it, or another number of folds.")
def a_class_in_one_fold(world: World) -> Attempts:
    rows = [{"text": f"row {i}", "label": "neg"} for i in range(9)]

    def folded(count: int) -> Callable[[], object]:
        more = [{"text": f"good {i}", "label": "pos"} for i in range(count)]
        source = load(world.rows([*rows, *more], f"of-{count}"), reporter=SILENT)
        return lambda: check_folds(source.table("train"), source, 2)

    yield folded(1)
    yield folded(9)


# Models that are named or given.


@follow("Give --teacher a folder that save_pretrained made")
def no_teacher(world: World) -> Attempts:
    yield lambda: checkpoint("teacher", "./teacher", None)
    yield lambda: checkpoint("teacher", str(world.teacher), None)


@follow("Give --student a checkpoint's folder")
def no_student(world: World) -> Attempts:
    yield world.runs(student="./student")
    yield world.runs(student=str(world.teacher))


@follow("or a shape such as 2x128.")
def no_student_but_a_shape(world: World) -> Attempts:
    yield world.runs(student="./student")
    yield world.runs(student="2x128")


@follow("Give --tokenizer a folder that a tokenizer was saved to")
def no_tokenizer(world: World) -> Attempts:
    yield world.runs(tokenizer="./tokenizer")
    yield world.runs(tokenizer=str(world.teacher))


@follow("Give it as tokenizer=... beside the model.")
def a_model_without_its_tokenizer(world: World) -> Attempts:
    import transformers

    model = transformers.AutoModelForSequenceClassification.from_pretrained(world.teacher)
    tokenizer = transformers.AutoTokenizer.from_pretrained(world.teacher)
    yield lambda: place_of(model, None, world.folder, "teacher")
    yield lambda: place_of(model, tokenizer, world.folder, "teacher")


# Folders of results.


@follow("Choose another --out.")
def a_folder_of_something_else(world: World) -> Attempts:
    (world.folder / "thesis").mkdir()
    (world.folder / "thesis" / "thesis.tex").write_text("")
    yield lambda: check_foreign(world.folder / "thesis")
    yield lambda: check_foreign(world.folder / "run")


def done(world: World, **how: Any) -> Callable[[], object]:
    return lambda: is_done(prepared(replace(world.config, **how), None, SILENT)[0])


@follow("Choose another --out, or give --overwrite to replace it.")
def a_folder_of_another_run(world: World) -> Attempts:
    out = shutil.copytree(world.base, world.folder / "run")
    yield done(world, out=out, learning_rate=1e-3)
    yield done(world, out=out, learning_rate=1e-3, overwrite=True)


@follow("Give --overwrite to train this student again.")
def a_result_that_is_broken(world: World) -> Attempts:
    out = shutil.copytree(world.base, world.folder / "run")
    (out / "result.json").write_text("{")
    yield done(world, out=out)
    train(replace(world.config, out=out, overwrite=True))
    yield done(world, out=out)


FINETUNED = (
    "Start from a checkpoint that has not, or give --finetune always",
    "stages/finetune.py:_refuse_reuse",
    "Train the teachers of all folds alike.",
)
ANSWERED = (
    "teacher/column.py:recorded",
    "teacher/column.py:_read",
    "teacher/column.py:_joined_by_row",
    "teacher/column.py:_text_columns",
    "teacher/column.py:_check_answered",
)
OF_TOKENS = (
    "stages/job.py:resolve",
    "stages/stored.py:caches_of",
    "stages/stored.py:_checked",
    "stages/stored.py:check_sequences",
    "stages/stored.py:_with_siblings",
    "stages/stored.py:stored_tokenizer",
    "stages/stored.py:check_vocabulary",
    "config/methods.py:check_temperature",
    "student/losses/vocabulary.py:check_torch",
    "teacher/plan.py:check_draws",
    "forecast/announced.py:announced",
    "forecast/language_models.py:_drawn_teacher",
    "teacher/recode.py:recode",
    "teacher/calibration.py:unigram_of",
    "teacher/replaying.py:replaying",
    "teacher/panel.py:reading_head",
    "bench/codec_sample.py:compare_codecs",
)
ASKED_AGAIN = (
    "Name the same teacher, data and settings.",
    "Run the same repair again.",
    "Leave --live out",
)
ELSEWHERE = {
    "teacher/signals.py:kept_signals": "tests/language/test_signals.py",
    "teacher/signals.py:check_fits": "tests/language/test_signals.py",
    "stages/stored.py:check_tokens_alike": "tests/stages/test_token_signals.py",
    "student/terms/contract.py:layer": "tests/student/test_sums.py",
    "student/terms/contract.py:_layer_of": "tests/student/test_terms.py",
    "student/terms/minilm.py:modules": "tests/student/test_terms.py",
    "student/terms/tinybert.py:_map": "tests/student/test_terms.py",
    "student/terms/tinybert.py:_listed": "tests/student/test_terms.py",
    "student/terms/tinybert.py:modules": "tests/student/test_terms.py",
    "student/terms/objective.py:bound_to": "tests/student/test_terms.py",
    "student/terms/objective.py:_check_signals": "tests/student/test_terms.py",
    **dict.fromkeys(FINETUNED, "tests/stages/test_finetune.py"),
    **dict.fromkeys(ANSWERED, "tests/teacher/test_column.py"),
    **dict.fromkeys(OF_TOKENS, "tests/language"),
    **dict.fromkeys(ASKED_AGAIN, "tests/teacher/test_repair.py, test_live.py"),
    "stages/preflight.py:check_student": "tests/stages/test_words.py",
    "stages/preflight.py:check_signal_layers": "tests/language/test_preflight.py",
    "stages/preflight.py:check_device": "tests/language/test_preflight.py",
    "stages/relabelled.py:_check_answers": "tests/cli/test_label_advice.py",
    "teacher/column.py:_check_no_sentences": "tests/data/test_answers_of_models.py",
    "Name them with --data.": "tests/stages/test_again.py",
    "Give them to logitcache.load.": "tests/test_api.py",
    "Run the same command again: it takes another folder.": "tests/student/test_folder.py",
    "Try --dtype float32, check the teacher's weights": "tests/teacher/test_work.py",
    "Check the teacher's weights for NaN or infinite values, and dump again.": "a teacher whose every answer is NaN",
    "stages/train.py:_without_skipped": "a teacher whose every answer is NaN",
    "Make room and run the same command again": "a full disk",
    "Lower --max-length": "memory that does not suffice",
    "forecast/forecast.py:plan": "memory that does not suffice",
    "Install it: pip install": "a package that is not installed",
    "Merge it first: model.merge_and_unload().": "peft, which is not installed",
    "bench/dump_phases.py:peak_memory_of": "a system without /proc",
    "bench/document.py:read": "a bench of some minutes: tests/bench/test_document.py",
    "bench/overhead.py:_load": "tests/bench/test_overhead.py",
    "bench/workload.py:check_length": "tests/bench/test_workload.py, tests/language/test_plan.py",
    "cost/flops.py:_number": "a model whose configuration names no sizes",
    "Give a folder with a train file too": "tests/cli/test_check.py",
    "Name the column that holds the labels with --label": "a table that has one, which is empty",
    "student/term.py:loss": "tests/student/test_term.py",
    "student/settings.py:share": "tests/student/test_ranks.py",
    "Give data of more, or name all classes": "one class is refused before",
    "Run the bench again with this version.": "tests/study/test_advice.py",
    "stages/budget.py:budget_plan": "several processes of a launcher",
    "student/budget.py:check_spent": "its advice is followed above, before it is trained",
    "Correct it.": "what is named is not a value of its kind",
}


@pytest.mark.parametrize(("advice", "case"), CASES.parameters())
def test_advice_about_runs_is_followed(
    world: World, advice: str, case: Callable[[World], Attempts]
) -> None:
    arrives(case(world), advice)


def test_no_advice_about_runs_is_left_out() -> None:
    rooms = ["stages", "teacher", "student", "bench", "forecast", "cost"]
    assert not_followed(rooms, [*CASES.advice, *MACHINES.advice], ELSEWHERE) == []
