"""Tiny teachers and small data sets, built on the spot: no network, no downloads, the same on every
machine.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import random
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from logitcache.reporter import SILENT

os.environ["HF_HUB_OFFLINE"] = "1"  # before transformers is imported
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# the same numbers on a machine with a GPU as without
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import pytest
from hypothesis import settings

from tests.words import BAD, GOOD, PLAIN

# No deadline: a machine that is busy is no failure.
settings.register_profile("short", deadline=None, max_examples=12)
settings.register_profile("whole", deadline=None)


def pytest_configure(config: pytest.Config) -> None:
    """Properties are tried on fewer examples where the slow tests are left out."""
    gc.disable()  # until all is imported: none of it is garbage
    settings.load_profile("short" if config.getoption("markexpr") == "not slow" else "whole")


def pytest_collection_finish() -> None:
    """Keep what the test modules have imported out of every later garbage collection: going through
    all of torch and transformers takes 0.2 s each time. Then start the processes of commands.
    """
    gc.freeze()
    gc.enable()
    if commands := sys.modules.get("tests.commands"):  # some test needs them
        commands.start_server()


SINGLES, PAIRS = ("neg", "pos"), ("contradiction", "entailment", "neutral")
MAX_LENGTH = 48  # what the tiny models can read, in tokens

Row = dict[str, Any]


def sentence(draw: random.Random, words: tuple[str, ...], length: int) -> str:
    return " ".join(
        draw.choice(words) if draw.random() < 0.4 else draw.choice(PLAIN) for _ in range(length)
    )


def singles(n: int, seed: int) -> list[Row]:
    """Sentences of 1 to 20 words that can be learnt; the first text stands there three times, once
    with another label.
    """
    draw = random.Random(seed)
    rows = []
    for i in range(n):
        words = (
            draw.choice(GOOD if i % 2 else BAD),
            sentence(draw, GOOD if i % 2 else BAD, draw.randint(0, 19)),
        )
        rows.append({"text": " ".join(words).strip(), "label": SINGLES[i % 2]})
    return [*rows[:-2], rows[0], {**rows[0], "label": SINGLES[1]}]


def pairs(n: int, seed: int) -> list[Row]:
    """Pairs of sentences of unequal lengths, three classes."""
    draw = random.Random(seed)
    rows = []
    for i in range(n):
        first, second = (sentence(draw, GOOD + BAD, draw.randint(1, 12)) for _ in range(2))
        rows.append({"premise": first, "hypothesis": second, "label": PAIRS[i % 3]})
    return [*rows[:-1], rows[0]]


def write_rows(path: Path, rows: list[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """Results of one machine do not depend on how many tests run beside."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    """Files of tests need not outlive a power cut, and each wait takes some milliseconds. What a
    power cut does is tried on ``tests/fake_disk.py``.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _quick_accelerate() -> Iterator[None]:
    """Trainer's library collects all garbage before each run, and looks at each step for packages
    that are not installed: as much time as the steps of the tiny students take.
    """
    memory = sys.modules.get("accelerate.utils.memory")
    if memory is None:  # as in ``_probed_rows``
        yield
        return
    from accelerate.utils import imports

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "gc", SimpleNamespace(collect=lambda: 0))
        patch.setattr(imports, "_is_package_available", cache(imports._is_package_available))
        yield


@pytest.fixture(scope="session", autouse=True)
def _probed_rows(request: pytest.FixtureRequest) -> Iterator[dict[str, int]]:
    """A dump and a training ask a model about some rows, to choose its padding: a quarter as many
    where the slow tests are left out. The numbers that commands ask about, for ``whole_probes``.
    """
    probe = sys.modules.get("logitcache.models.probe")
    if probe is None:  # nothing that was collected needs it, nor is it loaded for this
        yield {}
        return
    whole = {"LENGTHS": probe.LENGTHS, "NATURAL": probe.NATURAL}
    with pytest.MonkeyPatch.context() as patch:
        if request.config.getoption("markexpr") == "not slow":
            for name, number in whole.items():
                patch.setattr(probe, name, number // 4)
        yield whole


@pytest.fixture(scope="module")
def whole_probes(_probed_rows: dict[str, int]) -> Iterator[None]:
    """As many probed rows as commands ask about: for tests of how padding is chosen."""
    from logitcache.models import probe

    with pytest.MonkeyPatch.context() as patch:
        for name, number in _probed_rows.items():
            patch.setattr(probe, name, number)
        yield


@pytest.fixture(scope="session")
def write() -> Callable[[Path, list[Row]], Path]:
    """Write rows as jsonl."""
    return write_rows


@pytest.fixture(scope="session")
def singles_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of single texts, two classes: 60 train rows, 24 dev, 20 test."""
    folder = tmp_path_factory.mktemp("data") / "singles"
    for seed, (split, n) in enumerate({"train": 60, "dev": 24, "test": 20}.items()):
        write_rows(folder / f"{split}.jsonl", singles(n, seed))
    return folder


@pytest.fixture(scope="session")
def unlabelled_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 30 single texts without labels, none of which is held out in ``singles_data``."""
    rows = [{"text": f"unseen {row['text']}"} for row in singles(30, 7)]
    return write_rows(tmp_path_factory.mktemp("data") / "more.jsonl", rows)


@pytest.fixture(scope="session")
def pairs_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pairs of texts, three classes: 40 train rows, 16 dev."""
    folder = tmp_path_factory.mktemp("data") / "pairs"
    for seed, (split, n) in enumerate({"train": 40, "dev": 16}.items()):
        write_rows(folder / f"{split}.jsonl", pairs(n, 10 + seed))
    return folder


@pytest.fixture(scope="session")
def load_source(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Any]:
    """``load_source(folder)``: a :class:`logitcache.data.source.Source` with its columns found by
    name.
    """
    from logitcache.config.data import Columns
    from logitcache.data.source import load

    return lambda path: load(
        str(path), Columns(), tmp_path_factory.getbasetemp() / "embedded", SILENT
    )


@pytest.fixture(scope="session")
def quick(singles_data: Path) -> Callable[[Path], Any]:
    """``quick(folder)``: a run of a second, three epochs of eight steps of a one-layer student, its
    workspace there.
    """
    from logitcache.config.train import TrainConfig
    from logitcache.config.workspace import Workspace

    return lambda folder: TrainConfig(
        data=str(singles_data),
        student="1x32",
        vocabulary=150,
        epochs=3.0,
        learning_rate=2e-3,
        batch_size=8,
        max_length=32,
        workspace=Workspace(folder / "work"),
    )


@pytest.fixture
def config(quick: Callable[[Path], Any], tmp_path: Path) -> Any:
    """The quick run in a workspace of its own."""
    return quick(tmp_path)


@pytest.fixture(scope="session")
def finished(
    singles_data: Path,
    quick: Callable[[Path], Any],
    checkpoint: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """Finished folders to look at, not to change: ``cache`` (a tiny BERT's answers), and results
    ``base``, ``kd``.
    """
    from logitcache.config.data import Columns
    from logitcache.config.teacher import DumpSettings
    from logitcache.data.source import load
    from logitcache.stages.train import train
    from logitcache.teacher.dump import dump_split
    from logitcache.teacher.model import load_teacher

    folder = tmp_path_factory.mktemp("finished")
    settings = quick(folder)
    source = load(str(singles_data), Columns(), folder / "data", SILENT)
    cache_folder = settings.workspace.cache("singles", "train", "teacher")
    dump_split(
        load_teacher(str(checkpoint()), device="cpu"),
        source,
        "train",
        cache_folder,
        DumpSettings(48, shard_rows=25),
    )
    runs = {
        method: train(dataclasses.replace(settings, method=method), source=source)
        for method in ("base", "kd")
    }
    return {"cache": cache_folder, "workspace": settings.workspace.folder, **runs}


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``checkpoint(kind, labels, dropout=0.1)``: a tiny sequence classifier with its tokenizer,
    saved once.
    """
    folder = tmp_path_factory.mktemp("checkpoints")

    @cache
    def make(kind: str = "bert", labels: tuple[str, ...] = SINGLES, dropout: float = 0.1) -> Path:
        import torch

        torch.manual_seed(sum(map(ord, kind)) + len(labels))
        tokenizer = make_tokenizer(kind)
        model = make_model(kind, tokenizer, labels, dropout)
        out = folder / f"{kind}-{'-'.join(labels)}-{dropout}"
        model.save_pretrained(out)
        tokenizer.save_pretrained(out)
        return out

    return make


@pytest.fixture(scope="session")
def headless(checkpoint: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny BERT's body alone: a checkpoint without a classification head, as most on the hub
    are.
    """
    import transformers

    folder = tmp_path_factory.mktemp("checkpoints") / "bare-bert"
    model = transformers.AutoModelForSequenceClassification.from_pretrained(checkpoint())
    model.base_model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(checkpoint()).save_pretrained(folder)
    return folder


def make_tokenizer(kind: str) -> Any:
    import transformers
    from tokenizers import ByteLevelBPETokenizer

    words = (*PLAIN, *GOOD, *BAD)
    if kind == "bert":
        special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
        letters = [f"{hashes}{c}" for c in "abcdefghijklmnopqrstuvwxyz" for hashes in ("", "##")]
        vocabulary = {
            token: i for i, token in enumerate(dict.fromkeys([*special, *words, *letters]))
        }
        return transformers.BertTokenizer(vocab=vocabulary, model_max_length=MAX_LENGTH)
    special = (
        ["<s>", "<pad>", "</s>", "<unk>", "<mask>"] if kind == "roberta" else ["<|endoftext|>"]
    )
    learner = ByteLevelBPETokenizer()
    learner.train_from_iterator(
        [" ".join(words * 2)], 600, special_tokens=special, show_progress=False
    )
    learnt = json.loads(learner.to_str())["model"]
    vocab, merges = learnt["vocab"], [tuple(merge) for merge in learnt["merges"]]
    if kind == "roberta":
        return transformers.RobertaTokenizer(
            vocab=vocab, merges=merges, model_max_length=MAX_LENGTH
        )
    side = kind.removeprefix("gpt2-")
    return transformers.GPT2Tokenizer(
        vocab=vocab, merges=merges, model_max_length=MAX_LENGTH, padding_side=side
    )


def make_model(kind: str, tokenizer: Any, labels: tuple[str, ...], dropout: float) -> Any:
    """Two layers, 32 wide, with weights large enough that rows get different answers."""
    import transformers

    named = {
        "id2label": dict(enumerate(labels)),
        "label2id": {name: i for i, name in enumerate(labels)},
    }
    common = {**named, "vocab_size": len(tokenizer), "initializer_range": 0.3}
    if kind.startswith("gpt2"):
        rates = {"resid_pdrop": dropout, "embd_pdrop": dropout, "attn_pdrop": dropout}
        # No token opens or closes a text, and no padding token is named: as in the checkpoints that
        # people use.
        special = {"bos_token_id": tokenizer.eos_token_id, "eos_token_id": tokenizer.eos_token_id}
        shape = {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": MAX_LENGTH}
        return transformers.GPT2ForSequenceClassification(
            transformers.GPT2Config(**common, **shape, **rates, **special)
        )
    rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    shape = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
    }
    if kind == "bert":
        config = transformers.BertConfig(
            **common, **shape, **rates, max_position_embeddings=MAX_LENGTH
        )
        return transformers.BertForSequenceClassification(config)
    positions = {"max_position_embeddings": MAX_LENGTH + 2, "type_vocab_size": 1, "pad_token_id": 1}
    special = {"bos_token_id": 0, "eos_token_id": 2}
    config = transformers.RobertaConfig(**common, **shape, **rates, **positions, **special)
    return transformers.RobertaForSequenceClassification(config)
