"""Which command takes which options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from logitcache.config.bench import (
    DumpBenchConfig,
    OverheadConfig,
    PlanBenchConfig,
    PlanConfig,
    ReadBenchConfig,
)
from logitcache.config.check import CheckConfig
from logitcache.config.codecs import CodecsConfig
from logitcache.config.dump import AgainConfig, DumpConfig, WorkersConfig
from logitcache.config.option import Cost, Declared, options_of
from logitcache.config.report import (
    BenchOutput,
    CompareConfig,
    ConvertConfig,
    DemoConfig,
    InspectConfig,
    ReportConfig,
    StudyReportConfig,
    StudySubmitConfig,
    VerifyConfig,
)
from logitcache.config.reshape import ReshapeConfig
from logitcache.config.study import StudyConfig
from logitcache.config.train import TrainConfig
from logitcache.config.tune import TuneConfig


@dataclass(frozen=True)
class Takes:
    """A configuration's options as a command takes them: fewer, required, or with new defaults."""

    config: type
    without: frozenset[str] = frozenset()
    required: frozenset[str] = frozenset()
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def options(self) -> Iterator[Declared]:
        for declared in options_of(self.config):
            if declared.name in self.without:
                continue
            required = declared.option.required or declared.name in self.required
            own = replace(declared.option, required=required)
            default = declared.default
            if declared.name in self.defaults:
                default = self.defaults[declared.name]
                own = replace(own, help=own.help.partition(" Default:")[0])
            yield replace(declared, option=own, default=default)


def _uncounted() -> Iterator[Declared]:
    counted = set()
    for declared in options_of(PlanConfig):
        if declared.option.cost is Cost.COUNTED:
            counted.add(declared.name)
    for config in (DumpConfig, WorkersConfig, TrainConfig):
        for declared in options_of(config):
            if declared.option.cost is not Cost.COUNTED and declared.name not in counted:
                yield declared


# Options of `dump` and `train` that a forecast takes and does not use.
UNCOUNTED: dict[str, Declared] = {}
for _declared in _uncounted():
    UNCOUNTED.setdefault(_declared.name, _declared)
_FINETUNE = {declared.name for declared in options_of(PlanConfig) if declared.path[0] == "finetune"}
_STUDY = {"unlabelled", "split", "epochs", "seeds", "method", "price_per_hour", "calibrate", "rows"}
_STUDENT = {"accumulate", "group_by_length", "init", "tokenizer", "vocabulary"}
_PLAN = Takes(PlanConfig, without=frozenset(UNCOUNTED), required=frozenset({"teacher"}))

# Options of a dump that is not made.
_NO_DUMP = frozenset(
    {declared.name for declared in options_of(DumpConfig) if declared.path[0] == "finetune"}
    | {
        "codec",
        "unlabelled",
        "label_map",
        "label",
        "labels",
        "out",
        "reuse",
        "shard_rows",
        "on_nonfinite",
        "format",
    }
    | {"overwrite", "part"}
)

# Options of a training that a budget, or text without labels, leaves no use for.
_NO_BUDGET = frozenset(
    {"epochs", "select", "predict", "layers", "folds", "text_pair", "label", "labels", "unlabelled"}
    | {"label_map", "class_weight", "data_seed", "max_length"}
)

# one dump and some steps, no whole study
COMMANDS: dict[str, tuple[Takes, ...]] = {
    "dump": (Takes(DumpConfig), Takes(WorkersConfig)),
    "train": (Takes(TrainConfig, required=frozenset({"method"})),),
    "pretrain": (
        Takes(
            TrainConfig,
            without=_NO_BUDGET,
            required=frozenset({"budget"}),
            defaults={"task": "masked-lm"},
        ),
    ),
    "codecs": (Takes(CodecsConfig), Takes(DumpConfig, without=_NO_DUMP)),
    "check": (Takes(CheckConfig, without=frozenset({"data"})),),
    "reshape": (Takes(ReshapeConfig),),
    "compare": (Takes(CompareConfig),),
    "inspect": (Takes(InspectConfig),),
    "verify": (Takes(VerifyConfig), Takes(AgainConfig)),
    "repair": (Takes(AgainConfig),),
    "convert": (Takes(ConvertConfig),),
    "plan": (_PLAN,),
    "bench overhead": (
        Takes(OverheadConfig, without=frozenset(_STUDENT), defaults={"rows": 2048}),
        Takes(BenchOutput),
    ),
    "bench dump": (Takes(DumpBenchConfig), Takes(BenchOutput)),
    "bench read": (Takes(ReadBenchConfig), Takes(BenchOutput)),
    "bench plan": (
        replace(_PLAN, without=_PLAN.without | _STUDY | _FINETUNE),
        Takes(PlanBenchConfig),
        Takes(BenchOutput),
    ),
    "study run": (Takes(StudyConfig),),
    "study report": (Takes(StudyReportConfig),),
    "study submit": (Takes(StudySubmitConfig),),
    "tune": (Takes(TuneConfig, without=frozenset({"seeds", "ray", "dry_run"})),),
    "report": (Takes(ReportConfig),),
    "demo": (Takes(DemoConfig),),
}


def options_of_command(command: str) -> list[Declared]:
    """The options of a command, in the order in which its configurations declare them."""
    return [declared for takes in COMMANDS[command] for declared in takes.options()]
