from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.config.data import Columns
from logitcache.data.source import load
from logitcache.data.sources.presets import PRESETS, draw, find
from logitcache.data.tasks.classification import METRICS
from logitcache.errors import SpecError
from logitcache.reporter import Notes

SCRIPT = """
import json, sys
from dataclasses import replace
from pathlib import Path
from logitcache.data.sources import presets
from logitcache.data.source import Columns, load
from logitcache.reporter import Notes

presets.PRESETS["fewrel"] = replace(presets.PRESETS["fewrel"], per_class=(3, 1, 1), label_names=("P6", "P17"))
answers = []
for name, seed, columns in json.loads(sys.argv[1]):
    notes = []
    source = load(name, Columns(**columns), Path("unused"), Notes(notes.append), seed=seed)
    splits = {s: [*rows.texts(), rows.label.tolist(), rows.row_id.tolist()] for s, rows in source.splits.items()}
    answers.append([source.name, source.label_names, source.num_labels, source.metric, notes, splits])
print(json.dumps(answers))
"""


def words(names: tuple[str, ...], **columns: Any) -> datasets.Features:
    texts = {name: datasets.Value("string") for name in columns}
    return datasets.Features(
        {**texts, "label": datasets.ClassLabel(names=list(names)), "idx": datasets.Value("int32")}
    )


def glue(folder: Path) -> None:
    """The seven tasks as the hub holds them: a parquet file per split, and a card that says which."""
    card = ["---", "configs:"]
    for preset in (p for p in PRESETS.values() if p.repo == "nyu-mll/glue"):
        card += [f"- config_name: {preset.config}", "  data_files:"]
        columns = [preset.text] + ([preset.text_pair] if preset.text_pair else [])
        for split in sorted(
            {*preset.splits.values(), *(["test_mismatched"] if preset.name == "glue/mnli" else [])}
        ):
            card += [f"  - split: {split}", f"    path: {preset.config}/{split}-*"]
            label = (
                [-1, -1, -1] if split.startswith("test") else [0, 1, len(preset.label_names) - 1]
            )
            rows = {c: [f"{c} of {preset.config} {split} {i}" for i in range(3)] for c in columns}
            made = datasets.Dataset.from_dict(
                {**rows, "label": label, "idx": [0, 1, 2]}, words(preset.label_names, **rows)
            )
            path = folder / str(preset.config) / f"{split}-00000-of-00001.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            made.to_parquet(path)
    (folder / "README.md").write_text("\n".join([*card, "---", ""]))


def sst5(folder: Path) -> None:
    folder.mkdir(parents=True)
    for split in ("train", "dev", "test"):
        rows = [
            {"text": f"{split} {i}", "label": 4 - i, "label_text": "said otherwise"}
            for i in range(5)
        ]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def fewrel(folder: Path) -> None:
    """The script, and beside it the hub's conversion of what it would make."""
    folder.mkdir(parents=True)
    (folder / "few_rel.py").write_text("raise SystemExit('run')\n")
    converted = folder.with_name("few_rel@refs") / "convert" / "parquet"
    for split, relations in (
        ("train_wiki", ("P17", "P6")),
        ("val_wiki", ("P25",)),
        ("val_nyt", ("other",)),
    ):
        entity = {"type": "Q1", "text": "x", "indices": [[0]]}
        rows = [
            {
                "relation": relation,
                "tokens": [f"{relation}-{i}", "lies", "in", "B", "C", "."],
                "head": entity,
                "tail": {**entity, "indices": [[3, 4], [2]]},
                "names": ["a", "b"],
            }
            for i in range(5)
            for relation in relations
        ]
        path = converted / "default" / split / "0000.parquet"
        path.parent.mkdir(parents=True)
        datasets.Dataset.from_list(rows).to_parquet(path)
    (converted / "pid2name").mkdir()
    datasets.Dataset.from_dict({"names": ["x"]}).to_parquet(converted / "pid2name" / "0000.parquet")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Every preset, loaded from repositories of the layout of the real ones, by one process."""
    from tests.fake_hub import FakeHub, fork_python

    folder = tmp_path_factory.mktemp("hub")
    glue(folder / "datasets" / "nyu-mll" / "glue")
    sst5(folder / "datasets" / "SetFit" / "sst5")
    fewrel(folder / "datasets" / "thunlp" / "few_rel")
    asked: list[tuple[str, int, dict[str, Any]]] = [(name, 0, {}) for name in PRESETS]
    asked += [
        ("sst2", 0, {"label_names": ["bad", "good"]}),
        ("glue/mnli", 0, {"text": "hypothesis"}),
    ]
    asked += [("fewrel", 1, {})]
    with FakeHub(folder) as hub:
        done = fork_python(hub, folder / "home", SCRIPT, json.dumps(asked))
        assert done.returncode == 0, done.stderr

        def again() -> str:
            """What the same script prints without the hub."""
            script = (SCRIPT, json.dumps(asked))
            return str(fork_python(hub, folder / "home", *script, HF_HUB_OFFLINE="1").stdout)

        answers = json.loads(done.stdout)
        yield {
            "printed": done.stdout,
            "again": again,
            **{
                f"{name} {seed} {sorted(columns)}": answer
                for (name, seed, columns), answer in zip(asked, answers, strict=True)
            },
        }


@pytest.mark.slow
def test_what_was_loaded_once_is_there_without_the_hub(loaded: dict[str, Any]) -> None:
    """In short, of one set: ``test_hub_sets``."""
    assert loaded["again"]() == loaded["printed"]


def test_the_table_is_sound() -> None:
    for name, preset in PRESETS.items():
        assert name == preset.name
        assert preset.metric in METRICS
        assert "train" in preset.splits
        assert len(set(preset.label_names)) == len(preset.label_names) > 1
    assert len(PRESETS["fewrel"].label_names) == 64
    assert {
        name: preset.metric for name, preset in PRESETS.items() if preset.metric != "accuracy"
    } == {
        "glue/cola": "mcc",
        "glue/mrpc": "f1",
    }


def test_a_preset_is_found_with_and_without_its_family() -> None:
    for name in PRESETS:
        assert find(name) is find(name.removeprefix("glue/")) is PRESETS[name]
    assert find("glue") is find("glue/stsb") is find("nyu-mll/glue") is None


@pytest.mark.parametrize("name", [name for name in PRESETS if name.startswith("glue/")])
def test_glue_from_a_repository_of_its_layout(loaded: dict[str, Any], name: str) -> None:
    preset = PRESETS[name]
    folder, names, count, metric, notes, splits = loaded[f"{name} 0 []"]
    assert (folder, tuple(names), count, metric) == (
        name.replace("/", "-"),
        preset.label_names,
        len(preset.label_names),
        preset.metric,
    )
    assert sorted(splits) == sorted(preset.splits)
    assert list(splits)[:3] == ["train", "dev", "test"]
    for split, (texts, pairs, labels, row_id) in splits.items():
        theirs = preset.splits[split]
        assert texts == [f"{preset.text} of {preset.config} {theirs} {i}" for i in range(3)]
        assert pairs == (
            None
            if preset.text_pair is None
            else [f"{preset.text_pair} of {preset.config} {theirs} {i}" for i in range(3)]
        )
        assert labels == ([-1] * 3 if split.startswith("test") else [0, 1, len(names) - 1])
        assert row_id == [0, 1, 2]
    assert [
        note
        for note in notes
        if note.startswith(f"data: preset {name}, data set nyu-mll/glue:{preset.config}: 3 train")
    ]


def test_sst5_from_a_repository_of_its_layout(loaded: dict[str, Any]) -> None:
    name, names, count, metric, _, splits = loaded["sst5 0 []"]
    assert (name, count, metric) == ("sst5", 5, "accuracy")
    assert names[0] == "very negative"
    for split in ("train", "dev", "test"):
        assert splits[split] == [
            [f"{split} {i}" for i in range(5)],
            None,
            [4, 3, 2, 1, 0],
            [0, 1, 2, 3, 4],
        ]


def test_fewrel_from_a_repository_of_its_layout(loaded: dict[str, Any]) -> None:
    name, names, _, _, notes, splits = loaded["fewrel 0 []"]
    assert (name, names) == ("fewrel-seed0", ["P6", "P17"])
    everything, taken = [], []
    for split, size in (("train", 3), ("dev", 1), ("test", 1)):
        texts, _, labels, row_id = splits[split]
        assert sorted(labels) == [0] * size + [1] * size
        taken += row_id
        assert all(
            text.startswith(f"[E1] {names[label]}-")
            for text, label in zip(texts, labels, strict=True)
        )
        everything += texts
    assert sorted(everything) == sorted(
        f"[E1] {n}-{i} [/E1] lies in [E2] B C [/E2] ." for n in names for i in range(5)
    )
    assert sorted(taken) == list(range(10))  # places in the one table that all seeds draw from
    assert (
        "data: preset fewrel, data set thunlp/few_rel@refs/convert/parquet: 6 train, 2 dev, 2 test rows"
        in notes
    )
    assert loaded["fewrel 1 []"][0] == "fewrel-seed1"
    assert loaded["fewrel 1 []"][-1] != splits


def test_what_is_asked_for_goes_before_a_preset(loaded: dict[str, Any]) -> None:
    assert loaded["sst2 0 ['label_names']"][1] == ["bad", "good"]
    assert loaded["sst2 0 ['label_names']"][-1]["train"][2] == [0, 1, 1]
    texts, pairs, *_ = loaded["glue/mnli 0 ['text']"][-1]["dev_mismatched"]
    assert (texts[0], pairs) == ("hypothesis of mnli validation_mismatched 0", None)


@pytest.fixture(scope="module")
def copies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders as `hf download --local-dir` leaves them: the repository's files, and what it keeps
    for itself.
    """
    folder = tmp_path_factory.mktemp("copies")
    glue(folder / "glue")
    sst5(folder / "sst5")
    fewrel(folder / "few_rel")
    folders = {"glue": folder / "glue", "sst5": folder / "sst5"}
    folders["fewrel"] = folder / "few_rel@refs" / "convert" / "parquet"
    for copy in folders.values():
        (copy / ".cache" / "huggingface" / "download").mkdir(parents=True)
    return folders


def told(data: str, folder: Path, **columns: Any) -> tuple[Any, list[str]]:
    notes: list[str] = []
    return load(data, Columns(**columns), folder, Notes(notes.append)), notes


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_preset_over_a_copy_is_the_preset(
    loaded: dict[str, Any],
    copies: dict[str, Path],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Of the whole repository, or of the one folder that holds its files: as it comes from the hub."""
    monkeypatch.setitem(
        PRESETS,
        "fewrel",
        replace(PRESETS["fewrel"], per_class=(3, 1, 1), label_names=("P6", "P17")),
    )
    top = copies[name.split("/")[0]]
    below = {"fewrel": top / "default", "sst5": top}.get(name, top / name.split("/")[-1])
    for folder in (top, below):
        source, notes = told(f"{name}={folder}", tmp_path)
        splits = {
            s: [*rows.texts(), rows.label.tolist(), rows.row_id.tolist()]
            for s, rows in source.splits.items()
        }
        assert notes[-1].startswith(f"data: preset {name}, {folder}: ")
        known_as, names, count, metric, _, expected = loaded[f"{name} 0 []"]
        assert [source.name, list(source.label_names or ()), source.num_labels, source.metric] == [
            known_as, names, count, metric,
        ]  # fmt: skip
        assert splits == {split: list(rows) for split, rows in expected.items()}


def test_a_copy_without_preset_is_read_by_its_names(
    copies: dict[str, Path], tmp_path: Path
) -> None:
    source, _ = told(str(copies["glue"] / "mnli"), tmp_path)
    assert set(source.splits) == {"train", "dev", "test", "dev_mismatched", "test_mismatched"}
    assert source.split("dev_mismatched").texts()[0][0] == "premise of mnli validation_mismatched 0"


def test_a_preset_over_what_datasets_saved(tmp_path: Path) -> None:
    columns = {"sentence": ["a", "b"], "label": [1, 0], "text": ["no", "no"]}
    made = datasets.Dataset.from_dict(columns)
    datasets.DatasetDict({"train": made, "validation": made}).save_to_disk(tmp_path / "saved")
    source, notes = told(f"cola={tmp_path / 'saved'}", tmp_path)
    assert (source.name, source.metric, source.label_names) == (
        "glue-cola",
        "mcc",
        ("unacceptable", "acceptable"),
    )
    assert source.split("dev").texts() == (["a", "b"], None)
    assert notes[0] == f"{tmp_path / 'saved'}: the preset glue/cola has more: no test here"


def test_a_preset_over_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(
        SpecError, match=r"nowhere: no such folder\. Give sst5=FOLDER, .* the files of SetFit/sst5"
    ):
        told(f"sst5={tmp_path / 'nowhere'}", tmp_path)
    (tmp_path / "dev.jsonl").write_text('{"text": "a", "label": 0}\n')
    with pytest.raises(
        SpecError,
        match=r"expected the split train of SetFit/sst5, found dev\.jsonl\. Fetch it again",
    ):
        told(f"sst5={tmp_path}", tmp_path)
    with pytest.raises(SpecError, match="no such file or folder"):
        told(f"mine={tmp_path}", tmp_path)


SIZES = st.tuples(*(st.integers(0, 4) for _ in range(3))).filter(any)


@given(SIZES, st.integers(1, 4), st.integers(0, 3), st.integers(0, 2**32 - 1), st.data())
def test_a_draw_is_disjoint_and_exact(
    sizes: tuple[int, int, int], classes: int, spare: int, seed: int, data: st.DataObject
) -> None:
    each = sum(sizes) + spare
    label = np.array(data.draw(st.permutations([*range(classes)] * each + [-1, -1])), np.int64)
    drawn = draw(label, None, sizes, seed)
    places = np.concatenate(list(drawn.values()))
    assert len(set(places.tolist())) == len(places) == classes * sum(sizes)
    for (split, found), size in zip(drawn.items(), sizes, strict=True):
        assert np.bincount(label[found], minlength=classes).tolist() == [size] * classes, split
        assert (np.diff(found) > 0).all()
    if not spare:
        assert sorted(places.tolist()) == np.flatnonzero(label >= 0).tolist()
    again = draw(label, None, sizes, seed)
    assert all((again[split] == drawn[split]).all() for split in drawn)


def test_a_draw_is_its_seeds() -> None:
    label = np.arange(700 * 4) % 4
    drawn = [draw(label, None, (500, 100, 100), seed)["test"].tolist() for seed in (0, 1, 2)]
    assert len({tuple(places) for places in drawn}) == 3
    assert drawn[0][:8] == [2, 3, 6, 8, 34, 36, 43, 46]  # golden: a seed's rows never change


@pytest.mark.parametrize(
    ("label", "names", "said"),
    [
        ([0, 0, 0, 1, 1], ("a", "b"), "class b: expected at least 3 rows, found 2"),
        ([0, 0, 0], ("a", "b"), "class b: expected at least 3 rows, found 0"),
        ([0, 0, -1], None, "class 0: expected at least 3 rows, found 2"),
    ],
)
def test_a_class_with_too_few_rows_is_refused(
    label: list[int], names: tuple[str, ...] | None, said: str
) -> None:
    with pytest.raises(SpecError, match=said):
        draw(np.array(label), names, (1, 1, 1), 0)
