"""Advice about options is followed to the letter: the options are then taken."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest

from logitcache.config.bench import OverheadConfig, PlanConfig
from logitcache.config.check import CheckConfig
from logitcache.config.codecs import check_vocabulary
from logitcache.config.dump import DumpConfig
from logitcache.config.labels import parse_map
from logitcache.config.methods import check_temperature
from logitcache.config.report import ConvertConfig, InspectConfig
from logitcache.config.student import check_precision
from logitcache.config.train import TrainConfig
from logitcache.errors import SpecError
from logitcache_cli.options import typed
from tests.advice import not_followed

TRAIN, DUMP = {"data": "rows.csv"}, {"data": "rows.csv", "teacher": "4x256"}
# The advice, what takes the options, the options before, and what the advice changes (None: left
# out).
OPTIONS: list[tuple[str, type, Mapping[str, Any], Mapping[str, Any]]] = [
    ("Did you mean seed", TrainConfig, {"sede": 1}, {"sede": None, "seed": 1}),
    ("Give one.", DumpConfig, {"teacher": None}, {"teacher": "4x256"}),
    ("Correct it.", TrainConfig, {"epochs": -1}, {"epochs": 1}),
    ("Name a local path", TrainConfig, {"out": "s3://bucket/x"}, {"out": "x"}),
    ("Choose another place.", TrainConfig, {"out": __file__}, {"out": "x"}),
    *(
        (
            f"Save its numbers as one, rows by classes: numpy.save('answers.npy', {loaded}",
            DumpConfig,
            {"teacher": f"file:{file}"},
            {"teacher": "file:answers.npy"},
        )
        for file, loaded in (
            ("x.pt", "torch.load('x.pt', map_location='cpu', weights_only=True))."),
            ("x.pickle", "pandas.read_pickle('x.pickle')). A pickle runs code"),
            ("x.xlsx", "pandas.read_excel('x.xlsx'))."),
            ("x.safetensors", "next(iter(safetensors.numpy.load_file('x.safetensors').values())))."),
            ("x.mat", "NUMBERS)."),
        )
    ),
    ("Give file:///PATH.", TrainConfig, {"out": "file://host/x"}, {"out": "file:///x"}),
    ("Try 2x128.", TrainConfig, {"student": "2x131"}, {"student": "2x128"}),
    (
        "Give --init random",
        TrainConfig,
        {"student": "2x128", "init": "pretrained"},
        {"init": "random"},
    ),
    (
        "or a checkpoint as --student",
        TrainConfig,
        {"student": "2x128", "init": "pretrained"},
        {"student": "org/name"},
    ),
    ("Leave --revision out", TrainConfig, {"student": "2x128", "revision": "x"}, {"revision": None}),
    (
        "Give --batch-size 9.",
        TrainConfig,
        {"batch_size": 10, "accumulate": 3},
        {"batch_size": 9},
    ),
    ("Leave it out", TrainConfig, {"method": "base", "alpha": 0.5}, {"alpha": None}),
    ("or choose another method", TrainConfig, {"method": "base", "alpha": 0.5}, {"method": "ls"}),
    ("Leave it out", TrainConfig, {"method": "ls", "a": 0.9}, {"a": None}),
    ("Leave it out", TrainConfig, {"method": "ls", "temperature": 2}, {"temperature": None}),
    ("Leave it out", TrainConfig, {"method": "ls", "cache": "c"}, {"cache": None}),
    ("or choose kd", TrainConfig, {"method": "ls", "cache": "c"}, {"method": "kd"}),
    ("or choose kd", TrainConfig, {"method": "ls", "label_map": "a=b"}, {"method": "kd"}),
    (
        "several caches to average (--cache A --cache B)",
        TrainConfig,
        {"method": "kd", "teachers": "mean", "cache": "a"},
        {"cache": ("a", "b")},
    ),
    (
        "give --folds to `logitcache dump`",
        TrainConfig,
        {"method": "kd", "folds": 3},
        {"folds": None},
    ),
    (
        "Add --task embedding, or leave --similarity out.",
        TrainConfig,
        {"method": "embedding", "similarity": "dev.tsv"},
        {"task": "embedding"},
    ),
    (
        "Give --method embedding, or a sum such as embedding=1,tinybert=1.",
        TrainConfig,
        {"method": "kd", "task": "embedding"},
        {"method": "embedding=1,tinybert=1"},
    ),
    (
        "Leave pooling= out; a dump's --pooling is that of a teacher without",
        TrainConfig,
        {"method": "embedding=1:pooling=first", "task": "embedding"},
        {"method": "embedding=1"},
    ),
    (
        "Name one of them, for example 2x128.",
        TrainConfig,
        {"method": "embedding", "task": "embedding", "student": "mymodule:Net"},
        {"student": "2x128"},
    ),
    (
        "Add --task embedding, or leave --pooling out.",
        DumpConfig,
        {"pooling": "cls"},
        {"pooling": None},
    ),
    (
        "Leave it out, or give --signal pooled:own,dtype=bfloat16.",
        DumpConfig,
        {"task": "embedding", "teacher": "org/name", "codec": "float32"},
        {"codec": None, "signal": ("pooled:own,dtype=bfloat16",)},
    ),
    (
        "Name a folder or hub name of sentence-transformers.",
        DumpConfig,
        {"task": "embedding", "teacher": "4x256"},
        {"teacher": "sentence-transformers/all-MiniLM-L6-v2"},
    ),
    (
        "Leave it out, and put these texts among",
        TrainConfig,
        {"task": "causal-lm", "unlabelled": "more.txt"},
        {"unlabelled": None},
    ),
    (
        "Leave it out, or name a trained teacher.",
        DumpConfig,
        {"finetune": "never"},
        {"finetune": None},
    ),
    (
        "or name a trained teacher.",
        DumpConfig,
        {"finetune": "never"},
        {"teacher": "org/name"},
    ),
    (
        "Leave --folds out.",
        DumpConfig,
        {"teacher": "column:probs", "folds": 3},
        {"folds": None},
    ),
    (
        "Name it: --teacher column:NAME@rows.csv",
        DumpConfig,
        {"teacher": "rows.csv"},
        {"teacher": "column:NAME@rows.csv"},
    ),
    ("column:NAME,NAME", DumpConfig, {"teacher": "column:a,,b"}, {"teacher": "column:a,b"}),
    (
        "name a model to measure or forecast",
        PlanConfig,
        {"teacher": "column:probs"},
        {"teacher": "4x256"},
    ),
    ("Leave it out; `logitcache plan --task ", OverheadConfig, {"task": "embedding"}, {"task": None}),
    ("Leave it out.", PlanConfig, {"task": "embedding", "teacher": "org/name", "shape_only": True},
     {"shape_only": None}),
    ("or leave --method embedding out.", PlanConfig, {"method": ("embedding",), "teacher": "4x256"},
     {"method": None}),
    ("Add --task embedding", PlanConfig, {"method": ("embedding",), "teacher": "org/name"},
     {"task": "embedding"}),
    ("or add that", PlanConfig, {"tokens": 64}, {"shape_only": True}),
    ("Leave it out", PlanConfig, {"tokens": 64}, {"tokens": None}),
    (
        "Leave one out.",
        PlanConfig,
        {"tokens": 64, "shape_only": True, "unlabelled": "more.csv"},
        {"unlabelled": None},
    ),
    ("For example, hidden:-1 is the last layer.", DumpConfig, {"signal": ("hidden",)}, {"signal": ("hidden:-1",)}),
    ("Name it once.", DumpConfig, {"signal": ("hidden:1", "hidden:1")}, {"signal": ("hidden:1",)}),
    (
        "Use --codec to choose how logits are stored.",
        DumpConfig,
        {"signal": ("logits,dtype=int8",)},
        {"signal": None, "codec": "float32"},
    ),
    (
        "Add --signal logits, or leave --codec out.",
        DumpConfig,
        {"signal": ("hidden:1",), "codec": "float32"},
        {"signal": ("hidden:1", "logits")},
    ),
    ("or leave --codec out.", DumpConfig, {"signal": ("hidden:1",), "codec": "float32"}, {"codec": None}),
    (
        "Leave --folds out, or --signal.",
        DumpConfig,
        {"signal": ("logits", "hidden:1"), "folds": 3},
        {"folds": None},
    ),
    ("Give it as mlm=1.", TrainConfig, {"method": "mlm=0"}, {"method": "mlm=1"}),
    (
        "Give it as minilm=1:heads=VALUE.",
        TrainConfig,
        {"method": "minilm=1:heads"},
        {"method": "minilm=1:heads=4"},
    ),
    ("Leave it out.", TrainConfig, {"method": "mlm=1:heads=4"}, {"method": "mlm=1"}),
    ("Give --to or --codec.", ConvertConfig, {}, {"to": "zarr"}),
    (
        "Convert with --codec first, and its result to parquet.",
        ConvertConfig,
        {"to": "parquet", "codec": "float16"},
        {"codec": None},
    ),
    ("Use --loss-execution auto.", TrainConfig, {"method": "kd", "loss_execution": "torch"},
     {"loss_execution": "auto"}),
    ("Give them, or leave from: out.", TrainConfig, {"student": "from:x"}, {"layers": "0,2"}),
    ("or leave from: out.", TrainConfig, {"student": "from:x"}, {"student": "x"}),
    ("Leave --layers out.", TrainConfig, {"student": "2x128", "layers": "0"}, {"layers": None}),
    ("Leave it out.", TrainConfig, {"regime": "fresh"}, {"regime": None}),
    ("Leave it out.", TrainConfig, {"budget": "1h", "epochs": 2}, {"epochs": None}),
    ("Give more, a larger --warmup, or --warmup 0.", TrainConfig, {"budget": "steps=3"},
     {"warmup": 0}),
    ("Leave it out.", TrainConfig, {"method": "kd", "live": "t", "cache": "c", "task": "masked-lm"},
     {"cache": None}),
    ("Leave it out.", TrainConfig, {"method": "kd", "live": "t", "budget": "1h", "charge_dump": 1, "task": "masked-lm"},
     {"charge_dump": None}),
    ("Leave it out.", TrainConfig, {"method": "base", "budget": "1h", "dump_cost": "9s"},
     {"dump_cost": None}),
    ("Correct it.", OverheadConfig, {"method": ("kdd",)}, {"method": ("kd",)}),
    ("Correct it; sums of terms", PlanConfig, {"method": ("kd=1,minilm=1",)}, {"method": ("kd",)}),
    ("Name a row.", InspectConfig, {"data": "rows.csv"}, {"row": 0}),
]  # fmt: skip
NAMES = [
    (
        "Use --temperature 1, or dump with temperature=2 in --codec: stored targets have one temperature.",
        partial(check_temperature, (1.0,)),
        2.0,
        1.0,
    ),
    ("Give --precision bf16 or fp32.", partial(check_precision, has_gpu=False), "fp16", "bf16"),
    ("such as negative=NEG,positive=POS", parse_map, "a", "negative=NEG,positive=POS"),
    ("or a JSON object", parse_map, '{"a": ', '{"a": "b"}'),
    ("Leave one out.", parse_map, "a=x,a=y", "a=x"),
    ("Name it; of classes", check_vocabulary, None, "causal-lm"),
]
BASE: dict[type, Mapping[str, Any]] = {
    TrainConfig: TRAIN,
    DumpConfig: DUMP,
    CheckConfig: TRAIN,
}
# What no option can reach is no user's.
REASONS = {
    "config/shapes.py:check_norm": "a checkpoint's layers: tests/language/test_pretrain.py",
    "or a smaller --batch-size.": "a step's cost is known when it was made: tests/student/test_budget.py",
    "config/own.py:named": "a method of a user's own: tests/student/test_term.py",
    "config/own.py:load": "a method of a user's own: tests/student/test_term.py",
    "config/own.py:failure": "a method of a user's own: tests/student/test_term.py",
    "config/own.py:check_student": "a student of a user's own: tests/student/test_own_student.py",
    "config/own.py:check_importable": "an object in memory: tests/student/test_own_student.py",
    "config/methods.py:check_method": "a method of a user's own: tests/student/test_term.py",
    "config/train.py:check_layers": "tested above: its advice holds a name",
    "config/train.py:_check_teaching": "without_fold is no option",
    "config/bench.py:check": "an empty list of widths is no command",
}


def options(kind: type, *parts: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a command, the later before the earlier; one that is None is left out."""
    merged = {name: value for part in (BASE.get(kind, {}), *parts) for name, value in part.items()}
    return {name: value for name, value in merged.items() if value is not None}


@pytest.mark.parametrize(("advice", "kind", "before", "then"), OPTIONS)
def test_advice_about_options_is_followed(
    advice: str, kind: type, before: Mapping[str, Any], then: Mapping[str, Any]
) -> None:
    with pytest.raises(SpecError) as caught:
        typed(kind, options(kind, before))
    assert advice in str(caught.value)
    typed(kind, options(kind, before, then))


@pytest.mark.parametrize(("advice", "parse", "before", "then"), NAMES)
def test_advice_about_names_is_followed(advice: str, parse: Any, before: Any, then: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(before)
    assert advice in str(caught.value)
    parse(then)


def test_no_advice_about_options_is_left_out() -> None:
    followed = [case[0] for case in (*OPTIONS, *NAMES)]
    assert not_followed(["config"], followed, REASONS) == []
