"""What is asked of a run: defaults, what is refused, and whose a folder is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from logitcache.config.shapes import parse_shape
from logitcache.config.train import TrainConfig
from logitcache.data.folds import folds_of
from logitcache.errors import FingerprintMismatch, SpecError
from logitcache.reporter import SILENT, Notes
from logitcache.stages.folder import claim, is_done
from logitcache.stages.job import NOT_RECORDED, Job, resolve
from logitcache.stages.rows import load
from logitcache.student.model import build_student, student_tokenizer
from tests.fake_results import document


def made(config: TrainConfig) -> Job:
    return resolve(config, None, SILENT)


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_defaults_follow_the_student_and_the_data(
    config: TrainConfig, checkpoint: Callable[..., Path]
) -> None:
    bare = replace(config, learning_rate=None)
    shape, pretrained = made(bare), made(replace(bare, student=str(checkpoint())))
    random = made(replace(bare, student=str(checkpoint()), init="random"))
    found = [(job.config.init, job.config.learning_rate) for job in (shape, pretrained, random)]
    assert found == [("random", 5e-4), ("pretrained", 2e-5), ("random", 5e-4)]
    assert shape.config.select == "best"


def test_what_is_asked_names_every_setting_and_no_place(
    config: TrainConfig, checkpoint: Callable[..., Path]
) -> None:
    job = made(
        replace(
            config,
            method="kd",
            student=str(checkpoint()),
            tokenizer=str(checkpoint()),
            temperature=2.0,
        )
    )
    asked = job.record()
    assert set(asked) >= {f.name for f in fields(TrainConfig)} - NOT_RECORDED - {
        "label_map",
        "class_weight",
    }
    assert (asked["alpha"], asked["temperature"], asked["soft_factor"]) == (0.5, 2.0, 4.0)
    assert asked["student"] == asked["tokenizer"]
    assert asked["student"].startswith(f"{checkpoint().name}@")
    assert str(config.workspace.folder.parent) not in json.dumps(asked)
    assert "/" not in json.dumps({**asked, "format": None})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"seed": -1}, "--seed"),
        ({"seed": 2**32}, "--seed"),
        ({"learning_rate": float("inf")}, "--learning-rate"),
        ({"learning_rate": 0.0}, "--learning-rate"),
        ({"batch_size": 8, "accumulate": 3}, "divisible by --accumulate, found 8 and 3"),
        ({"student": "2x64", "init": "pretrained"}, "a shape .2x64. has no pretrained weights"),
        ({"student": "0x64"}, "at least one layer"),
        ({"student": "2x1"}, "LAYERSxWIDTH"),
        ({"metric": "bleu"}, "accuracy, macro_f1, f1, mcc"),
        ({"method": "nonsense"}, "base, ls, tf-reg, self-kd, kd"),
        ({"report_to": "paper"}, "--report-to"),
        ({"cache": "c"}, "--cache: base has no teacher"),
        (
            {"method": "ls", "loss_execution": "torch"},
            "--loss-execution torch: expected --method base, found --method ls: .* Use",
        ),
        ({"method": "kd", "teachers": "mean"}, "--teachers: expected mean, and several caches"),
        (
            {"method": "kd", "teachers": "mean", "cache": "c"},
            "--teachers: expected mean, and several caches",
        ),
        (
            {"method": "kd", "teachers": "best", "cache": ["c", "d"]},
            "--teachers: expected one of mean, found .best.",
        ),
        (
            {"method": "kd", "folds": 3},
            "--folds: expected self-kd without --cache.* give --folds to `logitcache dump`",
        ),
        (
            {"method": "self-kd", "folds": 3, "cache": "c"},
            "--folds: expected self-kd without --cache",
        ),
        (
            {"method": "self-kd", "folds": 1},
            "--folds: expected a whole number from 2 to 100, found 1",
        ),
        (
            {"method": "self-kd", "folds": 101},
            "--folds: expected a whole number from 2 to 100, found 101",
        ),
        ({"without_fold": (3, 3)}, r"without_fold: .* found \(3, 3\)"),
    ],
)
def test_what_cannot_be_is_refused(config: TrainConfig, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=said):
        made(replace(config, **wrong))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (
            [{"text": "a", "label": 1}, {"text": "b", "label": 1}],
            "at least two classes in the training rows, found one",
        ),
        (
            [{"text": "a", "label": 1}, {"text": "b"}],
            "at least two classes in the training rows, found one",
        ),
        (
            [{"text": "a"}, {"text": "b"}],
            "expected labelled training rows, found none with a label",
        ),
    ],
)
def test_training_needs_labels_of_two_classes(
    config: TrainConfig, write: Callable[..., Path], tmp_path: Path, rows: list[Any], said: str
) -> None:
    with pytest.raises(SpecError, match=said):
        made(replace(config, data=str(write(tmp_path / "d" / "train.jsonl", rows))))


@pytest.mark.parametrize("dev", [None, [{"text": "a"}, {"text": "b"}]])
def test_best_needs_a_labelled_dev_split(
    config: TrainConfig, write: Callable[..., Path], tmp_path: Path, dev: list[Any] | None
) -> None:
    write(tmp_path / "d" / "train.jsonl", [{"text": "a", "label": i} for i in (0, 1)])
    if dev is not None:
        write(tmp_path / "d" / "dev.jsonl", dev)
    config = replace(config, data=str(tmp_path / "d"))
    with pytest.raises(SpecError, match="--select best needs a labelled dev split"):
        made(replace(config, select="best"))
    assert made(config).config.select == "last"


def test_a_folder_is_new_ours_or_somebody_elses(config: TrainConfig, tmp_path: Path) -> None:
    job = made(replace(config, out=tmp_path / "out"))
    assert not is_done(job)
    (tmp_path / "out").mkdir()
    assert not is_done(job)
    claim(job)
    assert not is_done(job)  # begun
    finished = document("base", 0, {"dev": {"accuracy": 0.5}})
    (tmp_path / "out" / "result.json").write_text(json.dumps(finished))
    assert is_done(job)
    again = replace(job, config=replace(job.config, overwrite=True))
    assert not is_done(again)
    claim(again)
    assert files(tmp_path / "out") == ["run.json"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"epochs": 9.0}, "epochs = 3.0, now it is 9.0"),
        ({"method": "ls"}, "alpha = 0.0, now it is 0.1"),
        ({"rows": 20}, "rows = None, now it is 20"),
    ],
)
def test_another_run_is_refused_by_its_field(
    config: TrainConfig, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    config = replace(config, out=tmp_path / "out")
    claim(made(config))
    with pytest.raises(FingerprintMismatch, match=said):
        is_done(made(replace(config, **change)))


def test_renamed_labels_make_another_run(
    config: TrainConfig, singles_data: Path, tmp_path: Path
) -> None:
    """The rows and the classes' numbers are the same; the names that the student answers with are
    not.
    """
    (tmp_path / "data").mkdir()
    for file in singles_data.iterdir():
        (tmp_path / "data" / file.name).write_text(file.read_text().replace('"pos"', '"positive"'))
    claim(made(replace(config, out=tmp_path / "out")))
    with pytest.raises(FingerprintMismatch, match=r"label_names = .*'pos'.*'positive'"):
        is_done(made(replace(config, data=str(tmp_path / "data"), out=tmp_path / "out")))


@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_result_is_never_touched(
    config: TrainConfig, tmp_path: Path, overwrite: bool
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("dear")
    found = {
        tmp_path / "thesis": r"found chapter1\.tex\. Choose another --out",
        tmp_path / "thesis" / "chapter1.tex": r"expected a folder, found a file\.",
    }
    for out, message in found.items():
        with pytest.raises(SpecError, match=message):
            is_done(made(replace(config, out=out, overwrite=overwrite)))
    assert files(tmp_path / "thesis") == ["chapter1.tex"]


def test_shapes_have_a_head_for_each_64_of_width() -> None:
    assert [parse_shape(s) for s in ("1x32", "2x128", "4x256")] == [
        (1, 32, 1),
        (2, 128, 2),
        (4, 256, 4),
    ]


def test_the_seed_decides_every_fresh_weight(config: TrainConfig, tmp_path: Path) -> None:
    job = made(config)
    tokenizer = student_tokenizer("1x32", None, job.train, 150, 32, tmp_path)

    def weights(seed: int) -> Any:
        model = build_student("1x32", "random", job.task, tokenizer, 32, seed)
        assert model.config.id2label == {0: "neg", 1: "pos"}
        return [p.detach().numpy().tobytes() for p in model.parameters()]

    assert weights(0) == weights(0)
    assert weights(0) != weights(1)


@pytest.mark.parametrize("kind", ["bert", "roberta", "gpt2-right"])
def test_a_checkpoint_gets_a_head_for_these_labels(
    config: TrainConfig,
    checkpoint: Callable[..., Path],
    pairs_data: Path,
    kind: str,
    tmp_path: Path,
) -> None:
    """Its body's weights stay; with ``random`` only its architecture does."""
    job, path = made(replace(config, data=str(pairs_data))), str(checkpoint(kind))
    tokenizer = student_tokenizer(path, None, job.train, 150, 32, tmp_path)
    known = len(tokenizer)  # a padding token that is added has a fresh embedding
    kept, fresh = (
        build_student(path, init, job.task, tokenizer, 32, 0) for init in ("pretrained", "random")
    )
    assert kept.config.num_labels == fresh.config.num_labels == 3
    assert kept.config.pad_token_id == tokenizer.pad_token_id
    other = build_student(path, "pretrained", job.task, tokenizer, 32, 1)
    embeddings = [
        m.get_input_embeddings().weight[:known].detach().numpy().tobytes()
        for m in (kept, fresh, other)
    ]
    assert embeddings[0] != embeddings[1]
    assert embeddings[0] == embeddings[2]


def test_fp16_without_a_gpu_is_refused(config: TrainConfig) -> None:
    with pytest.raises(SpecError, match="fp16 needs a GPU"):
        made(replace(config, precision="fp16"))


def test_a_cache_is_one_path_or_several() -> None:
    one, two = Path("a"), Path("b")
    found = [TrainConfig(cache=cache).caches for cache in (None, (), "a", one, ["a", two], (one,))]
    assert found == [(), (), ("a",), (one,), ("a", two), (one,)]


def test_the_metric_is_the_datas_own_unless_one_is_named(config: TrainConfig) -> None:
    source = replace(load(config, SILENT), metric="mcc")
    jobs = [
        resolve(replace(config, metric=metric), source, SILENT) for metric in (None, "macro_f1")
    ]
    assert [job.record()["metric"] for job in jobs] == ["mcc", "macro_f1"]


@pytest.mark.parametrize("method", ["base", "kd"])
def test_without_a_fold_its_labelled_rows_are_left_out(config: TrainConfig, method: str) -> None:
    """Of the rows that --rows chose: the others keep their row_id."""
    whole, chosen = made(config).train, made(replace(config, rows=40)).train
    left = [
        made(replace(config, method=method, rows=40, without_fold=(fold, 3))).train.row_id
        for fold in range(3)
    ]
    fold = dict(zip(whole.row_id.tolist(), folds_of(whole.row_hash, 3).tolist(), strict=True))
    assert [r.tolist() for r in left] == [
        [i for i in chosen.row_id.tolist() if fold[i] != k] for k in range(3)
    ]


def test_unlabelled_rows_stand_behind_the_train_split(
    config: TrainConfig, unlabelled_data: Path
) -> None:
    """Whatever part of the train split is used; the run's own settings say which they were, by
    digest.
    """
    config, notes = replace(config, unlabelled=str(unlabelled_data)), list[str]()
    kd = resolve(replace(config, method="kd", rows=20), None, Notes(notes.append))
    assert kd.train.row_id[20:].tolist() == list(range(60, 90))
    assert (set(kd.train.label[20:]), kd.train.label[:20].min()) == ({-1}, 0)
    assert kd.starts() == {"train": 0, "unlabelled": 60}
    assert any("30 unlabelled rows beside 20 labelled ones" in note for note in notes)
    base = made(config)
    assert (len(base.train), base.starts()) == (60, {"train": 0})
    assert base.record() == made(replace(config, unlabelled=None)).record()
    assert kd.record()["unlabelled"] == kd.source.split("unlabelled").digest()
    out = config.workspace.folder / "kd"
    claim(replace(kd, out=out))
    with pytest.raises(
        FingerprintMismatch, match=r"made with unlabelled = [0-9a-f]+, now it is None"
    ):
        is_done(made(replace(config, method="kd", rows=20, unlabelled=None, out=out)))
