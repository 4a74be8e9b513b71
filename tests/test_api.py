"""The commands as functions: they take what the command line takes, and rows and sources beside it."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import logitcache
from logitcache import api
from logitcache.cache.cache import Cache
from logitcache.config.dump import DumpConfig
from logitcache.config.option import Declared, build, options_of
from logitcache.config.signatures import DumpOptions, TrainOptions
from logitcache.config.train import TrainConfig
from logitcache.data.source import Source
from logitcache.errors import FingerprintMismatch, LogitCacheError, SpecError
from logitcache.reporter import SILENT, Notes
from logitcache_cli.main import cli
from tests.runs import Amounts, result, same

SMALL: dict[str, Any] = {"student": "1x32", "vocabulary": 150, "epochs": 1.0, "max_length": 32}
CALLS = {"dump": (DumpConfig, DumpOptions), "train": (TrainConfig, TrainOptions)}


@pytest.mark.parametrize("command", CALLS)
def test_a_function_takes_every_option_of_its_command(command: str) -> None:
    config, taken = CALLS[command]
    parameters = inspect.signature(getattr(api, command)).parameters
    named = {
        name for name, each in parameters.items() if each.kind is not inspect.Parameter.VAR_KEYWORD
    }
    declared = {each.name for each in options_of(config)}
    assert declared <= named | set(taken.__annotations__)
    assert parameters["options"].annotation == f"Unpack[{taken.__name__}]"


def test_everything_named_is_there() -> None:
    assert dir(logitcache) == sorted(logitcache.__all__)
    for name in logitcache.__all__:
        assert getattr(logitcache, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'distil'"):
        logitcache.distil  # noqa: B018


def test_importing_loads_nothing_heavy() -> None:
    code = (
        "import sys, logitcache; dir(logitcache); logitcache.LogitCacheError; from logitcache import Cache;"
        "print(sorted({'torch', 'transformers', 'datasets', 'pandas', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_notes_go_to_a_function(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notes: list[str] = []
    (tmp_path / "train.csv").write_text("text,label\na,x\n,\nb,y\n")
    logitcache.load(tmp_path, notify=notes.append)
    assert notes
    assert capsys.readouterr().err == ""


@pytest.fixture
def silent() -> dict[str, Any]:
    return {"reporter": SILENT}


def test_a_call_is_the_command(
    singles_data: Path, checkpoint: Callable[..., Path], tmp_path: Path, silent: dict[str, Any]
) -> None:
    """Bit for bit: the cache and the student. Paths may be paths."""
    by_call, by_command = tmp_path / "call", tmp_path / "command"
    report = logitcache.dump(checkpoint(), singles_data, workspace=by_call, shard_rows=20, **silent)
    run = logitcache.train(
        "kd", singles_data, workspace=by_call, temperature=2, cache=report.cache, **SMALL, **silent
    )
    small = [
        part
        for name, value in SMALL.items()
        for part in (f"--{name.replace('_', '-')}", str(value))
    ]
    places = ["--data", str(singles_data), "--workspace", str(by_command)]
    for line in (
        ["dump", "--teacher", str(checkpoint()), "--shard-rows", "20"],
        ["train", "--method", "kd", "--temperature", "2", *small],
    ):
        assert CliRunner().invoke(cli, [*line, *places]).exit_code == 0
    assert report.cache == by_call / "caches" / f"singles-train-{checkpoint().name}"
    for path in report.cache.rglob("*.*"):
        assert (by_command / path.relative_to(by_call)).read_bytes() == path.read_bytes()
    assert same(run, by_command / run.relative_to(by_call))


def test_rows_in_memory_are_dumped_and_learnt(
    singles_data: Path, checkpoint: Callable[..., Path], tmp_path: Path, silent: dict[str, Any]
) -> None:
    """As a source, or handed over as they are."""
    files = {
        split: pd.read_json(singles_data / f"{split}.jsonl", lines=True)
        for split in ("train", "dev", "test")
    }
    source = logitcache.load(files, name="mine", **silent)
    assert source.digest() == logitcache.load(singles_data, **silent).digest()
    report = logitcache.dump(checkpoint(), source, workspace=tmp_path, **silent)
    assert report.cache.name.startswith("mine-train-")
    run = logitcache.train("kd", files, workspace=tmp_path, **SMALL, **silent)
    assert run.parent == tmp_path / "runs" / "memory"
    again = logitcache.train("kd", singles_data, workspace=tmp_path, **SMALL, **silent)
    assert same(run, again)


def test_unlabelled_rows_in_memory_go_beside_a_file(
    singles_data: Path, checkpoint: Callable[..., Path], tmp_path: Path, silent: dict[str, Any]
) -> None:
    more = {"text": ["an unseen film", "a dull one"]}
    both = logitcache.dump(
        checkpoint(), singles_data, unlabelled=more, workspace=tmp_path, **silent
    )
    assert both.unlabelled is not None
    assert both.unlabelled.rows == 2
    run = logitcache.train(
        "kd", singles_data, unlabelled=more, workspace=tmp_path, **SMALL, **silent
    )
    assert result(run)["data"]["unlabelled_rows"] == 2


@pytest.fixture
def source(singles_data: Path, load_source: Callable[[Path], Source]) -> Source:
    return load_source(singles_data)


@pytest.mark.parametrize(
    "more", [{"text": "text"}, {"labels": "neg,pos"}, {"unlabelled": "x.jsonl"}, {"data_seed": 1}]
)
def test_what_is_said_of_rows_that_were_read_already_is_refused(
    source: Source, tmp_path: Path, more: dict[str, Any]
) -> None:
    for call in (logitcache.dump, logitcache.train):
        with pytest.raises(SpecError, match=r"singles: expected a Source alone.* logitcache\.load"):
            call("base", source, workspace=tmp_path / "work", **more)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("setting", ["learning_rat", "columns", "config", "workers"])
def test_an_unknown_setting_is_named(source: Source, setting: str) -> None:
    with pytest.raises(
        SpecError, match=f"expected an option of this command, found '{setting}'"
    ) as caught:
        logitcache.train("base", source, **{setting: 1})
    if setting == "learning_rat":
        assert str(caught.value).endswith("Did you mean learning_rate?")


WRONG = [  # of every kind of option there is
    *(("dump", name, value) for name in ("teacher", "workspace") for value in (None, 3)),
    *(
        ("train", name, value)
        for name in ("student", "workspace", "seed", "epochs")
        for value in (None, [])
    ),
    *((function, "reporter", value) for function in ("dump", "train") for value in (None, print)),
    *((function, "notify", "print") for function in ("dump", "train")),
    *(
        ("dump", name, [1])
        for name in ("split", "out", "reuse", "revision", "device", "overwrite", "text")
    ),
    *(
        ("train", name, 3)
        for name in ("tokenizer", "cache", "tau_squared", "labels", "report_to", "metric")
    ),
    *(("train", "cache", [value]) for value in (None, 3)),
    *(("train", "labels", [value]) for value in (None, 3)),
    *(("load", name, 3) for name in ("label", "workspace", "name")),
    *(("load", "name", name) for name in ("", ".", "..", "a/b", "a\\b")),
    *(("compare", name, []) for name in ("baseline", "bootstrap", "plot", "split")),
    ("compare", "bootstrap", True),
]


@pytest.mark.parametrize(("function", "name", "value"), WRONG)
def test_what_is_no_value_of_an_option_is_refused_by_its_name(
    function: str, name: str, value: Any, tmp_path: Path, finished: dict[str, Path]
) -> None:
    needed: dict[str, dict[str, Any]] = {
        "dump": {"teacher": "1x32", "data": {}, "workspace": tmp_path},
        "train": {"method": "base", "data": {}, "workspace": tmp_path},
        "load": {"data": {}, "workspace": tmp_path},
    }
    arguments = [finished["base"]] if function == "compare" else []
    with pytest.raises(SpecError, match=rf"^{name}: expected .*, found .*\. Correct it\.$"):
        getattr(logitcache, function)(*arguments, **{**needed.get(function, {}), name: value})
    assert not list(tmp_path.iterdir())


def test_a_comparison_of_nothing_is_refused(finished: dict[str, Path]) -> None:
    with pytest.raises(SpecError, match="compare: expected result folders, found none"):
        logitcache.compare()
    with pytest.raises(SpecError, match="results: expected a path, found "):
        logitcache.compare([finished["base"]])  # type: ignore[arg-type]


def test_numbers_of_libraries_are_numbers(
    source: Source, tmp_path: Path, silent: dict[str, Any]
) -> None:
    seeds: Any = {
        "seed": np.int64(1),
        "epochs": np.float32(1),
        "batch_size": np.int32(16),
        "alpha": Fraction(1, 2),
    }
    out = logitcache.train("ls", source, **SMALL | seeds, workspace=tmp_path, **silent)
    assert out.name == "ls-seed1"
    assert (result(out)["seed"], result(out)["alpha"], result(out)["config"]["batch_size"]) == (
        1,
        0.5,
        16,
    )


def test_a_cache_is_a_folder_or_open_one_or_several(finished: dict[str, Path]) -> None:
    folder = finished["cache"]
    for value in (
        folder,
        str(folder),
        Cache.open(folder),
        [folder],
        (Cache.open(folder),),
        {str(folder)},
    ):
        places = api._locations(value)
        config = build(TrainConfig, {"method": "kd", "cache": places})
        assert [Path(place) for place in config.caches] == [folder]
    assert build(TrainConfig, {"method": "kd", "cache": []}).caches == ()


def test_an_open_cache_is_learnt_from(
    source: Source, finished: dict[str, Path], tmp_path: Path, silent: dict[str, Any]
) -> None:
    cache = Cache.open(finished["cache"])
    run = logitcache.train("kd", source, cache=cache, workspace=tmp_path, **SMALL, **silent)
    assert result(run)["cache_fingerprint"] == cache.fingerprint


def test_sets_in_memory_that_meet_are_told_of_names(
    singles_data: Path, tmp_path: Path, silent: dict[str, Any]
) -> None:
    rows = {"text": [f"the film was {i}" for i in range(8)], "label": ["neg", "pos"] * 4}
    logitcache.train("base", {"train": rows}, workspace=tmp_path, **SMALL, **silent)
    changed = {"train": {**rows, "label": ["pos", "neg"] * 4}}
    with pytest.raises(
        FingerprintMismatch,
        match=r"all called memory: name these with load\(\.\.\., name=\.\.\.\)\.",
    ):
        logitcache.train("base", changed, workspace=tmp_path, **SMALL, **silent)
    named = logitcache.load(changed, name="changed", **silent)
    logitcache.train("base", named, workspace=tmp_path, **SMALL, **silent)
    renamed = replace(
        named,
        splits={"train": replace(named.split("train"), label=named.split("train").label[::-1])},
    )
    with pytest.raises(FingerprintMismatch) as caught:
        logitcache.train("base", renamed, workspace=tmp_path, **SMALL, **silent)
    assert "all called memory" not in str(caught.value)


def bad_values(declared: Declared) -> list[Any]:
    """Values that an option does not take, where there is anything to get wrong."""
    rule = declared.option
    if rule.choices:
        return ["nonsense", 3]
    if declared.kind not in (int, float) or declared.several:
        return []
    low = rule.minimum if rule.above is None else rule.above
    below = [] if low is None else [int(low) - 1]
    return [*below, "3", [3], float("nan"), *([2.5, True] if declared.kind is int else [])]


@pytest.mark.parametrize(
    ("command", "declared"),
    [
        (name, each)
        for name, (config, _) in CALLS.items()
        for each in options_of(config)
        if bad_values(each)
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_a_value_that_an_option_would_not_take_is_refused(
    command: str, declared: Declared, source: Source
) -> None:
    call = {"dump": logitcache.dump, "train": logitcache.train}[command]
    needed = {"dump": {"teacher": "1x32"}, "train": {"method": "base"}}[command]
    for value in bad_values(declared):
        with pytest.raises(SpecError, match=f"^{declared.name}: expected .*, found "):
            call(**{"data": source, **needed, declared.name: value})


def test_what_a_command_refuses_a_call_refuses(
    source: Source, tmp_path: Path, silent: dict[str, Any]
) -> None:
    wrong: list[Callable[[], object]] = [
        lambda: logitcache.load(tmp_path / "nowhere.jsonl", **silent),
        lambda: logitcache.dump(tmp_path / "nobody", source, workspace=tmp_path / "w", **silent),
        lambda: logitcache.dump(
            "1x32", source, finetune="sometimes", workspace=tmp_path / "w", **silent
        ),
        lambda: logitcache.train("nonsense", source, workspace=tmp_path / "w", **silent),
        lambda: logitcache.train("kd", source, workspace=tmp_path / "w", **silent),
        lambda: logitcache.compare(tmp_path / "nowhere"),
    ]
    for call in wrong:
        with pytest.raises(LogitCacheError):
            call()
    assert not list(tmp_path.iterdir())


def test_label_names_may_be_a_list_or_as_a_command_line_writes_them(
    singles_data: Path, silent: dict[str, Any]
) -> None:
    for names in (["pos", "neg"], ("pos", "neg"), "pos, neg"):
        assert logitcache.load(singles_data, labels=names, **silent).label_names == ("pos", "neg")


def test_notes_go_to_stderr_unless_somebody_takes_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {"train": {"text": ["a", "b"], "label": ["x", "y"]}}
    logitcache.load(rows, workspace=tmp_path)
    out, err = capsys.readouterr()
    assert (out, err) == ("", "data: rows in memory: 2 train rows\n")
    notes: list[str] = []
    logitcache.load(rows, workspace=tmp_path, reporter=Notes(notes.append))
    assert (notes, capsys.readouterr().err) == ([err.strip()], "")


def test_progress_counts_every_row_and_step(source: Source, tmp_path: Path) -> None:
    amounts = Amounts()
    train_only = replace(source, splits={"train": source.split("train")})
    logitcache.dump(
        "1x32",
        train_only,
        finetune_epochs=1,
        workspace=tmp_path,
        reporter=amounts,
    )
    assert amounts.totals == [2, 60]  # steps of the fine-tuning, then rows
    assert amounts.steps[:2] == [(1, 0), (1, 0)]
    assert sum(rows for rows, _ in amounts.steps[2:]) == 60


def test_a_comparison_can_be_drawn(finished: dict[str, Path], tmp_path: Path) -> None:
    picture = tmp_path / "picture.svg"
    comparison = logitcache.compare(finished["base"], finished["kd"], bootstrap=100, plot=picture)
    assert comparison.verdict
    assert picture.read_text().startswith("<?xml")
    found = CliRunner().invoke(
        cli, ["compare", str(finished["base"]), str(finished["kd"]), "--bootstrap", "100", "--json"]
    )
    assert json.loads(found.stdout) == json.loads(json.dumps(comparison.to_json()))
