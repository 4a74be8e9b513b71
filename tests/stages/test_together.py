"""Several commands at the same moment on one workspace: each folder is one command's whole work,
byte for byte what that command makes alone, or the command was told in one line who is writing
there.
"""

from __future__ import annotations

import itertools
import json
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

from tests.commands import start
from tests.conftest import singles, write_rows

PATIENCE = 300  # seconds
REFUSED = (4, 5)  # other settings, or somebody else is writing
# a cache that is replaced while it is read: another, being written, not finished
READING = (4, 5, 6)
NOT_COMPARED = ("seconds_per_step", "train_seconds", "peak_memory_bytes")
Tree = dict[str, bytes]


@dataclass(frozen=True)
class Command:
    """Words of a command and the folders that it makes, both below the workspace; ``{}`` is where
    that lies.
    """

    words: tuple[str, ...]
    makes: tuple[str, ...] = ()
    reads: str | None = None  # a cache that another command may replace


TRAIN = (
    "train",
    "--data",
    "{}/data",
    "--workspace",
    "{}",
    "--student",
    "1x16",
    "--vocabulary",
    "120",
    "--epochs",
    "2",
)
TRAIN += ("--batch-size", "12", "--max-length", "32", "--method")
DUMP = (
    "dump",
    "--data",
    "{}/data",
    "--workspace",
    "{}",
    "--max-length",
    "32",
    "--shard-rows",
    "5",
    "--teacher",
)
LEARNT = "tokenizers"
# What the trainings' options give; "other" is put where "base" goes.
BASE, SELF = "runs/data/base-seed0", "runs/data/self-kd-seed0"
COMMANDS = {
    "dump": Command((*DUMP, "{}/teacher", "--out", "{}/dumped"), ("dumped",)),
    "finetune": Command(
        (*DUMP, "{}/headless", "--finetune-epochs", "1", "--out", "{}/finetuned"),
        ("finetuned", "teachers"),
    ),
    "base": Command((*TRAIN, "base"), (BASE, LEARNT)),
    "other": Command(
        (*TRAIN, "base", "--learning-rate", "0.01", "--out", f"{{}}/{BASE}"), (BASE, LEARNT)
    ),
    "self-kd": Command((*TRAIN, "self-kd"), (SELF, "self-kd", LEARNT)),
    "kd": Command(
        (*TRAIN, "kd", "--cache", "{}/cache", "--out", "{}/taught"), ("taught", LEARNT), "cache"
    ),
    "convert": Command(
        ("convert", "{}/cache", "{}/converted", "--to", "zarr"), ("converted",), "cache"
    ),
    "merge": Command(("merge", "{}/merged", "{}/parts/1", "{}/parts/2"), ("merged",)),
    "repair": Command(
        (
            "repair",
            "{}/broken",
            "--teacher",
            "{}/teacher",
            "--data",
            "{}/data",
            "--workspace",
            "{}",
        ),
        ("broken",),
    ),
    "verify": Command(("verify", "{}/cache"), (), "cache"),
    "overwrite": Command((*DUMP, "{}/stranger", "--out", "{}/cache", "--overwrite"), ("cache",)),
    "compare": Command(("compare", "{}/finished")),
}
PAIRS = list(itertools.combinations_with_replacement(COMMANDS, 2))


def tree(folder: Path) -> Tree:
    """Every file of a folder; of results without what was measured."""
    files = {
        path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()
    }
    return {
        name: _content(path)
        for name, path in files.items()
        if not name.endswith("training_args.bin")
    }


def _content(path: Path) -> bytes:
    if path.name != "result.json":
        return path.read_bytes()
    document = {
        name: value
        for name, value in json.loads(path.read_text()).items()
        if name not in NOT_COMPARED
    }
    return json.dumps(document, sort_keys=True).encode()


class Bench:
    """A workspace as it is before the commands, and what each of them makes of it alone."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.template = folder, folder / "template"
        self.alone: dict[str, list[dict[str, Tree]]] = {}
        self.rounds = 0

    def run(
        self, names: Sequence[str], template: Path | None = None
    ) -> tuple[Path, list[int], str]:
        """These commands at once in a new copy of the workspace: where, how each ended, and what
        they said.
        """
        self.rounds += 1
        work = self.folder / f"round-{self.rounds}" / "work"
        shutil.copytree(template or self.template, work, symlinks=True)
        logs = [work.parent / f"log-{number}" for number in range(len(names))]
        words = [[word.format(work) for word in COMMANDS[name].words] for name in names]
        processes = [start(line, log) for line, log in zip(words, logs, strict=True)]
        try:
            for process in processes:
                process.join(PATIENCE)
        finally:
            for process in processes:
                if process.is_alive():
                    process.kill()
        texts = [f"{name}: {log.read_text()}" for name, log in zip(names, logs, strict=True)]
        return work, [process.exitcode for process in processes], "\n".join(texts)

    def states(self, name: str) -> list[dict[str, Tree]]:
        """Every state of a command's folders that is its whole work, of a command that reads the
        cache also what it makes of the other one; made when it is first asked for.
        """
        if name not in self.alone:
            self.alone[name] = [self._made_alone(name, self.template)]
            if COMMANDS[name].reads:
                self.alone[name].append(self._made_alone(name, self.replaced))
        return self.alone[name]

    def _made_alone(self, name: str, template: Path) -> dict[str, Tree]:
        work, codes, text = self.run([name], template)
        assert codes == [0], text
        made = {folder: tree(work / folder) for folder in COMMANDS[name].makes}
        shutil.rmtree(work.parent)
        return made

    def furnish(self) -> None:
        """Add what `merge`, `repair` and `compare` work on."""
        template = self.template
        shutil.copytree(template / "cache", template / "broken")
        (template / "broken" / "shards" / "00001.arrow").write_bytes(b"not what was written")
        for part in ("1", "2"):
            _prepare(
                template,
                [*DUMP, "{}/teacher", "--out", f"{{}}/parts/{part}", "--part", f"{part}/2"],
            )
        for seed in ("1", "2"):
            _prepare(
                template, [*TRAIN, "base", "--seed", seed, "--out", f"{{}}/finished/base-{seed}"]
            )
        shutil.rmtree(template / "tokenizers")

    @cached_property
    def replaced(self) -> Path:
        """The workspace with its cache overwritten."""
        folder = self.folder / "replaced"
        shutil.copytree(self.template, folder)
        _prepare(folder, list(COMMANDS["overwrite"].words))
        return folder


@pytest.fixture(scope="module")
def bench(
    checkpoint: Callable[..., Path], headless: Path, tmp_path_factory: pytest.TempPathFactory
) -> Bench:
    """The workspace, and what each command makes of it alone."""
    bench = Bench(tmp_path_factory.mktemp("together"))
    template = bench.template
    for seed, (split, count) in enumerate({"train": 24, "dev": 8, "test": 8}.items()):
        write_rows(template / "data" / f"{split}.jsonl", singles(count, seed))
    shutil.copytree(checkpoint(), template / "teacher")
    shutil.copytree(checkpoint("roberta"), template / "stranger")
    shutil.copytree(headless, template / "headless")
    _prepare(template, [*DUMP, "{}/teacher", "--out", "{}/cache"])
    return bench


def _prepare(work: Path, words: Sequence[str]) -> None:
    log = work.parent / "log"
    process = start([word.format(work) for word in words], log)
    process.join(PATIENCE)
    assert process.exitcode == 0, log.read_text()


def check(bench: Bench, names: Sequence[str]) -> list[int]:
    """One round. How the commands ended."""
    work, codes, text = bench.run(names)
    said = f"{names} ended with {codes}\n{text}"
    ended = list(zip(names, codes, strict=True))
    for name, code in ended:
        replaced = COMMANDS[name].reads is not None and "overwrite" in names
        assert code == 0 or code in (READING if replaced else REFUSED), said
        assert code != 4 or replaced or {"base", "other"} <= set(names), said
        if code == 0:
            made = {folder: tree(work / folder) for folder in COMMANDS[name].makes}
            if name == "base" and "other" in names:  # which may have had its folder first
                made[BASE] = tree(_folder_of_base(work))
            states = bench.states(name)
            assert any(_holds(made, state) for state in states), (
                f"{said}\n{name}: {_differing(made, states[0])}"
            )
    if (work / BASE).exists():  # Self-KD trains it too
        base = {BASE: tree(work / BASE)}
        assert any(
            base[BASE] == state[BASE] for kind in ("base", "other") for state in bench.states(kind)
        ), said
    for name in set(names):
        rivals = {"base": ("base", "other", "self-kd"), "other": ("base", "other", "self-kd")}.get(
            name, (name,)
        )
        replaced = COMMANDS[name].reads is not None and "overwrite" in names
        assert replaced or any(code == 0 for other, code in ended if other in rivals), said
    assert not [path for path in work.rglob("*") if path.name.startswith(".")], said
    shutil.rmtree(work.parent)
    return codes


def _folder_of_base(work: Path) -> Path:
    """Where a training without ``--out`` went: beside its usual folder, if that held another run."""
    return next((work / "runs" / "data").glob("base-1x16-seed0-*"), work / BASE)


def _holds(made: dict[str, Tree], state: dict[str, Tree]) -> bool:
    """Whether every folder is as one command makes it. A shared folder may hold more: other
    commands' own.
    """
    return all(name in made and state[name].items() <= made[name].items() for name in state)


def _differing(made: dict[str, Tree], state: dict[str, Tree]) -> list[str]:
    return [
        f"{folder}/{name}"
        for folder, files in state.items()
        for name in {*files, *made[folder]}
        if files.get(name) != made[folder].get(name)
    ]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "names",
    [
        ("base", "other"),
        ("dump", "dump"),
        pytest.param(("finetune", "finetune"), marks=pytest.mark.slow),
    ],
    ids="-".join,
)
def test_two_commands_at_once(bench: Bench, names: tuple[str, ...]) -> None:
    check(bench, names)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_every_pair_of_commands_and_up_to_eight_at_once(bench: Bench) -> None:
    """Every pair twice, and the rest of 200 rounds with three to eight commands drawn at random."""
    bench.furnish()
    draw = random.Random("together")
    groups = [list(pair) for pair in PAIRS * 2]
    while len(groups) < 200:
        groups.append(draw.choices(list(COMMANDS), k=draw.randint(3, 8)))
    codes = [code for names in groups for code in check(bench, names)]
    counts = {code: codes.count(code) for code in sorted(set(codes))}
    print(f"{len(groups)} of {len(groups)} rounds, {len(codes)} commands: exit codes {counts}")
