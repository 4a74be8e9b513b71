"""GLUE's own files, as its archives hold them: columns, files without a header, quotes that are never closed."""

from __future__ import annotations

from pathlib import Path

import pytest

from logitcache.config.data import Columns
from logitcache.data.rows import Source
from logitcache.data.source import load
from logitcache.data.sources.presets import PRESETS
from logitcache.errors import SpecError
from logitcache.reporter import Notes

OPEN = '" It opens , and no quote closes it .'
PAIR = "index\tsentence1\tsentence2"
MNLI = (
    "index\tpromptID\tpairID\tgenre\tsentence1_binary_parse\tsentence2_binary_parse"
    "\tsentence1_parse\tsentence2_parse\tsentence1\tsentence2"
)
PARSED = "7\t7e\tfiction\t( a )\t( b )\t(ROOT a)\t(ROOT b)"
# {task: {file: its lines}}: the headers are those of the real files, the rows are made up.
FILES = {
    "cola": {
        "train.tsv": ["gj04\t1\t\tThey sailed .", f"bc01\t0\t*\t{OPEN}", "bc01\t1\t\tShe sang ."],
        "dev.tsv": ["gj04\t0\t*\tHim left ."],
        "test.tsv": ["index\tsentence", f"0\t{OPEN}", "1\tHe whistled ."],
    },
    "sst2": {
        "train.tsv": ["sentence\tlabel", f"{OPEN} \t0", "a warm film \t1"],
        "dev.tsv": ["sentence\tlabel", "it 's charming . \t1"],
        "test.tsv": ["index\tsentence", "0\tuneasy mishmash ."],
    },
    "mrpc": {
        "train.tsv": [
            "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String",
            f"1\t702\t703\t{OPEN}\tHe said so .",
            '0\t704\t705\tShares rose .\t" Shares fell , " he said .',
            f"1\t706\t707\tIt is one .\t{OPEN}",
        ],
        "dev.tsv": [
            "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String",
            f"0\t708\t709\t{OPEN}\tOther .",
        ],
        "test.tsv": ["\ufeffindex\t#1 ID\t#2 ID\t#1 String\t#2 String", f"0\t1\t2\tA .\t{OPEN}"],
        "dev_ids.tsv": ["708\t709"],
        "msr_paraphrase_train.txt": [
            "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String",
            *(f"{i % 2}\t{i}\t{i + 1}\t{OPEN} {i}\tHe said {i} ." for i in range(20)),
        ],
        "msr_paraphrase_test.txt": [
            "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String",
            f"1\t1\t2\tA .\t{OPEN}",
        ],
    },
    "qqp": {
        "train.tsv": [
            "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
            f"133\t1\t2\t{OPEN}\tWhat is it?\t0",
            '402\t3\t4\tWhat is "this"?\t"What" is this?\t1',
        ],
        "dev.tsv": [
            "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
            "5\t5\t6\tWhy?\tWhy so?\t1",
        ],
        "test.tsv": ["id\tquestion1\tquestion2", f"0\tWho?\t{OPEN}"],
    },
    "mnli": {
        "train.tsv": [
            f"{MNLI}\tlabel1\tgold_label",
            f"0\t{PARSED}\t{OPEN}\tIt is open .\tneutral\tneutral",
            f"1\t{PARSED}\tOne .\t{OPEN}\tentailment\tentailment",
            f"2\t{PARSED}\tTwo .\tNone .\tcontradiction\tcontradiction",
        ],
        "dev_matched.tsv": [
            f"{MNLI}\tlabel1\tlabel2\tlabel3\tlabel4\tlabel5\tgold_label",
            f"0\t{PARSED}\tA .\tB .\tneutral\tneutral\tentailment\tneutral\tneutral\tneutral",
        ],
        "dev_mismatched.tsv": [
            f"{MNLI}\tlabel1\tlabel2\tlabel3\tlabel4\tlabel5\tgold_label",
            f"0\t{PARSED}\tC .\tD .\tentailment\tentailment\tneutral\tneutral\tentailment\tentailment",
        ],
        "test_matched.tsv": [MNLI, f"0\t{PARSED}\t{OPEN}\tE ."],
        "test_mismatched.tsv": [MNLI, f"0\t{PARSED}\tF .\tG ."],
        "../diagnostic/diagnostic.tsv": [PAIR, "0\tThe cat sat .\tThe cat did not sit ."],
    },
    "qnli": {
        "train.tsv": [
            "index\tquestion\tsentence\tlabel",
            f"0\tWhat is it?\t{OPEN}\tnot_entailment",
            f"1\t{OPEN}\tIt is that .\tentailment",
        ],
        "dev.tsv": ["index\tquestion\tsentence\tlabel", "0\tWho?\tHe .\tentailment"],
        "test.tsv": ["index\tquestion\tsentence", f"0\tWhere?\t{OPEN}"],
    },
    "rte": {
        "train.tsv": [
            f"{PAIR}\tlabel",
            f"0\t{OPEN}\tIt opens .\tnot_entailment",
            "1\tA .\tB .\tentailment",
        ],
        "dev.tsv": [f"{PAIR}\tlabel", "0\tC .\tD .\tentailment"],
        "test.tsv": [PAIR, f"0\tE .\t{OPEN}"],
    },
    "wnli": {
        "train.tsv": [f"{PAIR}\tlabel", "0\tIt fell .\tThe cup fell .\t1", f"1\tA .\t{OPEN}\t0"],
        "dev.tsv": [f"{PAIR}\tlabel", "0\tC .\tD .\t0"],
        "test.tsv": [PAIR, f"0\t{OPEN}\tE ."],
    },
}
CLASSES = {
    "cola": ("0", "1"),
    "sst2": ("0", "1"),
    "mrpc": ("0", "1"),
    "qqp": ("0", "1"),
    "mnli": ("entailment", "neutral", "contradiction"),
    "qnli": ("entailment", "not_entailment"),
    "rte": ("entailment", "not_entailment"),
    "wnli": ("0", "1"),
}  # as the hub numbers them
# {task: the columns of texts and label in a training file}, which are those of dev, too
PLACES = {
    "cola": (3, None, 1),
    "sst2": (0, None, 1),
    "mrpc": (3, 4, 0),
    "qqp": (3, 4, 5),
    "mnli": (8, 9, -1),
    "qnli": (1, 2, 3),
    "rte": (1, 2, 3),
    "wnli": (1, 2, 3),
}


def write(folder: Path, task: str) -> None:
    for name, lines in FILES[task].items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def read(data: str, tmp_path: Path, **columns: str) -> tuple[Source, list[str]]:
    notes: list[str] = []
    return load(data, Columns(**columns), tmp_path / "unused", Notes(notes.append)), notes


@pytest.mark.parametrize("task", list(FILES))
def test_every_line_is_a_row_with_its_texts_and_its_class(tmp_path: Path, task: str) -> None:
    preset = PRESETS[f"glue/{task}"]
    assert preset.own_files is not None
    folder = tmp_path / preset.own_files.folder
    folder.mkdir()
    write(folder, task)
    source, _ = read(f"glue/{task}={folder}", tmp_path)
    assert (source.name, source.metric) == (f"glue-{task}", preset.metric)
    assert source.label_names == preset.label_names
    first, second, label = PLACES[task]
    for split in ("train", "dev"):
        names = preset.own_files.names[split]
        lines = FILES[task][names[0]][0 if task == "cola" else 1 :]
        fields = [line.split("\t") for line in lines]
        texts, pairs = source.split(split).texts()
        assert texts == [row[first] for row in fields]
        assert pairs == (None if second is None else [row[second] for row in fields])
        expected = [CLASSES[task].index(row[label]) for row in fields]
        assert source.split(split).label.tolist() == expected
    for split in (name for name in source.splits if name.startswith("test")):
        lines = FILES[task][preset.own_files.names[split][0]][1:]
        texts, pairs = source.split(split).texts()
        assert (pairs or texts) == [line.split("\t")[-1] for line in lines]


def test_a_folder_of_all_tasks_and_the_set_for_students_of_mnli(tmp_path: Path) -> None:
    """`glue_data`, as the download script leaves it."""
    for task in FILES:
        own = PRESETS[f"glue/{task}"].own_files
        assert own is not None
        (tmp_path / own.folder).mkdir()
        write(tmp_path / own.folder, task)
    for task in FILES:
        source, notes = read(f"{task}={tmp_path}", tmp_path)
        assert notes[-1].startswith(f"data: preset glue/{task}, {tmp_path}: ")
        assert {"train", "dev", "test"} <= set(source.splits)
    source, _ = read(f"mnli={tmp_path}", tmp_path)
    assert source.split("ax").texts() == (["The cat sat ."], ["The cat did not sit ."])
    assert source.split("ax").label.tolist() == [-1]
    _, notes = read(f"mrpc={tmp_path}", tmp_path)
    assert notes[0].endswith("/MRPC: not read, as glue/mrpc has other files: dev_ids.tsv")


def test_nothing_is_said_of_a_file_whose_header_a_preset_knows(tmp_path: Path) -> None:
    write(tmp_path, "cola")
    _, notes = read(f"glue/cola={tmp_path}", tmp_path)
    assert [note.split(":")[0] for note in notes] == ["data"]


def test_files_without_their_preset_lead_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "CoLA"
    folder.mkdir()
    write(folder, "cola")
    notes: list[str] = []
    with pytest.raises(SpecError):
        load(str(folder), Columns(), tmp_path, Notes(notes.append))
    data = f"glue/cola={folder}"
    assert notes[0] == (
        f"{folder}: files of glue/cola: --data {data} knows their columns, classes and metric"
    )
    assert len(read(data, tmp_path)[0].split("train")) == 3


def test_microsofts_files_stand_in_for_those_of_mrpc(tmp_path: Path) -> None:
    write(tmp_path, "mrpc")
    for name in ("train.tsv", "dev.tsv", "test.tsv"):
        (tmp_path / name).unlink()
    source, _ = read(f"glue/mrpc={tmp_path}", tmp_path)
    assert len(source.split("train")) == 20
    assert source.split("train").texts()[0][3] == f"{OPEN} 3"
    assert source.split("test").label.tolist() == [1]


def test_files_with_the_hubs_columns_are_read_by_these(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text("sentence\tlabel\tidx\nA .\t1\t0\nB .\t0\t1\n")
    source, _ = read(f"glue/cola={tmp_path}", tmp_path)
    assert source.split("train").texts() == (["A .", "B ."], None)
    assert source.split("train").label.tolist() == [1, 0]


def test_columns_that_are_named_go_before_those_of_a_preset(tmp_path: Path) -> None:
    write(tmp_path, "mrpc")
    source, _ = read(f"glue/mrpc={tmp_path}", tmp_path, text="#2 String")
    assert source.split("train").texts() == (
        ["He said so .", '" Shares fell , " he said .', OPEN],
        None,
    )


@pytest.mark.parametrize("name", ["glue/stsb", "glue/STS-B", "sts-b"])
def test_a_set_whose_labels_are_numbers_is_refused_by_name(tmp_path: Path, name: str) -> None:
    for data in (name, f"{name}={tmp_path}"):
        with pytest.raises(SpecError, match=f"preset {name}: expected labels that are classes"):
            read(data, tmp_path)
