"""Tables as people post them: what is noted of their columns, and which rows have no label."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas
import pyarrow as pa
import pytest

from logitcache.config.check import CheckConfig
from logitcache.config.data import Columns
from logitcache.data.answer_columns import read_columns
from logitcache.data.source import Source, load
from logitcache.data.sources.tables import Table
from logitcache.errors import SpecError
from logitcache.report.check import check_text
from logitcache.reporter import SILENT, Notes
from logitcache.stages.check import check
from tests.advice import printed, reshaped

VOTES = {
    "text": ["a warm film", "a dull film", "a long film"],
    "one": ["pos", "neg", "neg"],
    "two": ["pos", "neg", "pos"],
    "three": ["neg", "neg", ""],
}


def loaded(data: Any, **columns: Any) -> tuple[Source, list[str]]:
    notes: list[str] = []
    return load(data, Columns(**columns), Path("unused"), Notes(notes.append)), notes


def test_columns_of_several_annotators_are_votes() -> None:
    with_gap = {**VOTES, "three": ["neg", "neg", "pos"]}
    source, notes = loaded(with_gap)
    assert source.num_labels == 0
    assert any("--label one,two,three, and dump --teacher column:one,two,three" in n for n in notes)
    source, _ = loaded(VOTES, label="one,two,three")
    assert source.label_names == ("neg", "pos")
    assert source.dumped["train"].label.tolist() == [1, 0, -1]  # a tie is no label
    table = Table("votes", VOTES, range(3), typed=False)
    answers = read_columns(table, ["one", "two", "three"])
    assert answers.names == ("pos", "neg")
    assert answers.values.tolist() == [[2, 1], [0, 3], [1, 1]]


def test_what_annotators_amount_to_is_none_of_their_votes(tmp_path: Path) -> None:
    rows = {"sentence": ["a b", "c d", "e f"], "MACE_pred": ["yes", "no", "yes"]}
    workers = {f"worker_{i}": ["yes", "no", ["yes", "no"][i % 2]] for i in range(4)}
    notes = loaded({**rows, **workers})[1]
    names = ",".join(workers)
    teacher = f"dump --teacher column:{names}"
    assert any(f"votes of annotators: --label MACE_pred, and {teacher}" in note for note in notes)
    source, _ = loaded({**rows, **workers}, label="MACE_pred")
    assert source.label_names == ("no", "yes")
    table = Table("votes", {**rows, **workers}, range(3), typed=False)
    assert read_columns(table, list(workers)).values.tolist() == [[4, 0], [0, 4], [2, 2]]


def test_columns_that_sum_to_another_may_be_votes() -> None:
    votes = {"count": [3, 3, 6], "hate": [0, 1, 0], "offensive": [3, 2, 4], "neither": [0, 0, 2]}
    table = {"tweet": ["a b", "c d", "e f"], **votes, "class": ["1", "0", "1"]}
    _, notes = loaded(table, text="tweet")
    assert "If hate, offensive, neither, which sum to count, are votes: dump --teacher" in notes[0]
    assert "Another" not in notes[0]
    names = ["hate", "offensive", "neither"]
    answers = read_columns(Table("votes", table, range(3), typed=False), names)
    assert answers.values.tolist() == [[0, 3, 0], [1, 2, 0], [0, 4, 2]]


def test_numbers_of_several_tables_are_no_sums() -> None:
    rows = {
        "tweet": ["a b", "c d", "e f"],
        "class": ["1", "0", "1"],
        "a": [1, 2, 3],
        "b": [1, 1, 2],
    }
    test = {"tweet": ["g h"], "class": ["1"], "c": [5]}
    _, notes = loaded({"train": rows, "test": test}, text="tweet")
    assert "sum to" not in "".join(notes)


@pytest.mark.parametrize("name", ["unsup", "Unlabeled"])
def test_rows_without_a_label_may_say_so_in_words(name: str) -> None:
    texts = [f"text {i}" for i in range(4)]
    table = {"text": texts, "label": ["pos", "neg", name, "pos"]}
    source, notes = loaded(table)
    assert source.label_names == ("neg", "pos")
    assert source.dumped["train"].label.tolist() == [1, 0, -1, 1]
    kept = ",".join(sorted(("neg", "pos", name)))
    assert any(f"To keep it as a class: --labels {kept}" in note for note in notes)
    source, _ = loaded(table, label_names=("neg", "pos", name))
    assert source.dumped["train"].label.tolist() == [1, 0, 2, 1]


def test_words_with_tags_that_are_read_as_texts_are_said(tmp_path: Path) -> None:
    path = tmp_path / "r.tsv"
    path.write_text("London\tplace\nis\tO\nbig\tO\n\nIt\tO\nis\tO\n")
    _, notes = loaded(str(path), header=("text", "label"))
    assert any("call their columns word and tag (--header word,tag)" in note for note in notes)
    source, _ = loaded(str(path), header=("word", "tag"))
    assert (source.task, len(source.dumped["train"])) == ("token-classification", 2)


def test_a_category_beside_other_labels_is_said() -> None:
    texts = [f"some words {i}" for i in range(4)]
    table = {"text": texts, "category": ["book", "film"] * 2, "stars": [1, 1, 5, 5]}
    _, notes = loaded(table)
    assert "labels: the column category is read, stars not. Another: --label stars" in notes
    _, notes = loaded({**table, "label": [0, 1, 0, 1]})
    assert not any("stars" in note for note in notes)


@pytest.mark.parametrize(("first", "second"), [("question", "passage"), ("context", "hypothesis")])
def test_pairs_of_usual_names(first: str, second: str) -> None:
    table = {"title": ["a", "b"], first: ["c", "d"], second: ["e", "f"], "label": [0, 1]}
    source, _ = loaded(table)
    assert source.dumped["train"].texts() == (["c", "d"], ["e", "f"])


def test_a_name_that_tells_a_split_is_not_passed_over(tmp_path: Path) -> None:
    for name in ("sentTrain_raw.csv", "devel.csv", "testset-a.csv"):
        (tmp_path / name).write_text(f"text,label\n{name},0\nand {name},1\n")
    source, _ = loaded(str(tmp_path))
    assert set(source.splits) == {"train", "dev", "test"}


@pytest.mark.parametrize("one", [1, 1.0, "1"])
def test_one_hot_vectors_are_the_place_of_their_one(one: Any) -> None:
    zero = type(one)(0)
    vectors = [[one, zero, zero], [zero, zero, one], None, [zero, one, zero]]
    source, notes = loaded({"text": ["a", "b", "c", "d"], "label": vectors})
    assert source.dumped["train"].label.tolist() == [0, 2, -1, 1]
    assert any("(one-hot): the label is the place of the 1" in note for note in notes)
    with pytest.raises(SpecError, match="several labels a row"):
        loaded({"text": ["a", "b"], "label": [[one, zero, zero], [one, one, zero]]})


def test_labels_of_a_database() -> None:
    labels = pa.array([Decimal(i % 2) for i in range(4)])
    source, _ = loaded(pa.table({"text": ["a", "b", "c", "d"], "label": labels}))
    assert source.dumped["train"].label.tolist() == [0, 1, 0, 1]


def test_names_of_numbers_on_lines_as_clue_has_them(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text(
        '{"label": "101", "sentence": "a"}\n{"label": "100", "sentence": "b"}\n'
    )
    (tmp_path / "labels.json").write_text(
        '{"label": "100", "label_desc": "story"}\n{"label": "101", "label_desc": "sports"}\n'
    )
    source, _ = loaded(str(tmp_path))
    assert source.label_names == ("story", "sports")
    assert source.dumped["train"].label.tolist() == [1, 0]


def test_words_that_are_called_as_a_tag_are_words(tmp_path: Path) -> None:
    path = tmp_path / "r.conll"
    path.write_text("O DET\nmenino NOUN\n\nO DET\nO DET\nO DET\n")
    source, _ = loaded(str(path))
    assert source.label_names == ("DET", "NOUN")


def test_a_column_that_says_the_same_in_every_row_is_not_taken_for_the_texts() -> None:
    texts = ["a warm film", "a dull film", "a film of it"]
    table = {"Title": ["Is it so or not?"] * 3, "Input": texts, "label": [0, 1, 0]}
    advice = "'Title' holds no sentences that differ: name the texts with --text, for example --text Input"
    with pytest.raises(SpecError, match=advice):
        loaded(table)
    source, _ = loaded({"title": ["same"] * 3, "label": [0, 1, 0]})
    assert source.dumped["train"].texts()[0] == ["same"] * 3
    source, _ = loaded({name: values[:2] for name, values in table.items()})
    assert source.dumped["train"].texts()[0] == table["Title"][:2]


@pytest.mark.parametrize(
    "document",
    [
        {"sentences": [{"text": "a", "intent": "x", "entities": [{"entity": "e"}]}], "name": "n"},
        {"utterances": [{"text": "a", "intent": "x"}], "intents": [{"name": "x"}]},
        {"rasa_nlu_data": {"common_examples": [{"text": "a", "intent": "x"}], "synonyms": []}},
    ],
)
def test_rows_of_assistants_are_found_in_their_documents(tmp_path: Path, document: Any) -> None:
    (tmp_path / "nlu.json").write_text(json.dumps(document))
    source, notes = loaded(str(tmp_path / "nlu.json"))
    assert (source.dumped["train"].texts()[0], source.label_names) == (["a"], ("x",))
    assert any("rows under one key of a document" in note for note in notes)


@pytest.mark.parametrize("ending", ["iob2", "iob", "bio"])
def test_lines_that_number_documents_are_no_words(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"r.{ending}"
    path.write_text("###MEDLINE:1\n\na\tO\nfilm\tB-X\n\n###MEDLINE:2\n\nit\tO\n")
    assert len(loaded(str(path))[0].dumped["train"]) == 2


def test_answers_of_several_people_are_led_to_votes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"a film of {i // 3}" for i in range(30)]
    labels = [("pos", "neg")[(i % 3 == 2) ^ (i // 3 > 4)] for i in range(30)]
    table = pandas.DataFrame({"text": texts, "label": labels})
    table.to_csv(tmp_path / "r.csv", index=False)
    config = CheckConfig(data=str(tmp_path / "r.csv"))
    report = check_text(check(config, reporter=SILENT))
    assert "also" in report
    assert ", and give dump --data OUT.jsonl --label label --teacher column:label" in report
    monkeypatch.chdir(tmp_path)
    source, _ = loaded(str(reshaped(report.replace("OUT.jsonl,", "OUT.jsonl ,"), tmp_path)))
    assert source.dumped["train"].label.tolist() == [1] * 5 + [0] * 5


def test_answers_by_class_of_several_people_are_summed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {"text": f"a film of {i // 3}", "joy": int(i % 3 < 2), "fear": int(i % 3 == 2)}
        for i in range(30)
    ]
    pandas.DataFrame(rows).to_csv(tmp_path / "r.csv", index=False)
    config = CheckConfig(data=str(tmp_path / "r.csv"), columns=Columns(label="joy,fear"))
    report = check_text(check(config, reporter=SILENT))
    said = re.search(r'python -c "(.*)", and give .* --label joy,fear --teacher column:joy', report)
    assert said is not None, report
    monkeypatch.chdir(tmp_path)
    exec(said[1])
    table = pandas.read_parquet("OUT.parquet")
    assert table[["joy", "fear"]].values.tolist() == [[2, 1]] * 10


def test_rows_of_an_indented_document_have_places(tmp_path: Path) -> None:
    rows = {"rows": [{"text": "a", "label": 0}, {"text": None, "label": 1}], "of": "x"}
    (tmp_path / "r.json").write_text(json.dumps(rows, indent=1))
    with pytest.raises(SpecError, match=r"r\.json row 1: column 'text'"):
        loaded(str(tmp_path / "r.json"))


def test_labels_in_a_file_of_their_own_are_said(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\na,0\nb,1\n")
    (tmp_path / "labels-a.csv").write_text("1,0\n")
    _, notes = loaded(str(tmp_path))
    assert any(
        "beside their texts, called as the label column of the other files" in note
        for note in notes
    )


def test_rejected_answers_are_said() -> None:
    table = {"text": ["a", "b"], "label": [0, 1], "AssignmentStatus": ["Approved", "Rejected"]}
    _, notes = loaded(table)
    assert any("AssignmentStatus is rejected: 1 (first: data in memory, row 1)" in n for n in notes)
    status = {"text": ["a", "b"], "status": ["approved", "rejected"]}
    source, notes = loaded(status, label="status")
    assert source.label_names == ("approved", "rejected")
    assert not any("is rejected" in note for note in notes)


def test_a_column_of_numbers_called_by_a_mark_is_no_comment(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("#,text,label\n1,a film,x\n2,it is,old,y\n")
    with pytest.raises(SpecError, match=r"line 3: .*found 4\. Mend the line"):
        loaded(str(path))


SOURCE = "http://de.wikipedia.org/wiki/A_{0} [2009-10-17]"


@pytest.mark.parametrize("tag", ["B-X", "X"])
@pytest.mark.parametrize(
    "comment",
    [f"## {{0}}\t{SOURCE}", f"#\t{SOURCE}", f"# {SOURCE}", "# a b c d", "#\ta\tb\t{0}", SOURCE],
)
@pytest.mark.parametrize("width", [2, 3])
def test_comments_before_sentences_are_no_words(
    tmp_path: Path, comment: str, tag: str, width: int
) -> None:
    path = tmp_path / "r.conll"
    middle = "\tN" * (width - 2)
    sentence = f"A{middle}\t{tag}\n#{middle}\tO\nfilm{middle}\tO\n"
    path.write_text("\n".join(f"{comment.format(i)}\n{sentence}" for i in range(3)))
    source, notes = loaded(str(path))
    assert source.label_names == tuple(sorted((tag, "O")))
    assert source.dumped["train"].texts()[0] == ["A\n#\nfilm"] * 3
    expected = "comments or sources before rows of words: 3 (first: line 1). They are no words."
    assert any(expected in note for note in notes)


def test_comments_before_some_sentences_are_no_words(tmp_path: Path) -> None:
    path = tmp_path / "r.conll"
    path.write_text("# doc0\nI PRP\n\nI PRP\nsing VB\n\n# doc1\nsing VB\n")
    source, _ = loaded(str(path))
    assert source.label_names == ("PRP", "VB")


def test_addresses_with_a_label_are_words(tmp_path: Path) -> None:
    path = tmp_path / "r.conll"
    lines = ["http://t.co/a O", "film\tB-X", "", "http://t.co/b B-X", "it\tO"]
    for words in (lines, lines[::-1], [line.replace("\t", " ") for line in lines]):
        path.write_text("\n".join(words))
        source, notes = loaded(str(path))
        assert len(" ".join(source.dumped["train"].texts()[0]).split()) == 4
        assert not any("comments" in note for note in notes)


def test_a_file_that_is_cut_within_its_last_line_is_said(tmp_path: Path) -> None:
    whole = {
        "r.conll": "EU NNP B-NP B-ORG\nfilm NN I-NP O",
        "s.conll": "EU\tB-ORG\nfilm\tO",
        "r.conllu": "1\tEU" + "\t_" * 8 + "\n2\tfilm" + "\t_" * 8,
    }
    for name, text in whole.items():
        delimiter = "\t" if "\t" in text else " "
        for cut in range(len(text) - 1, text.index("\n") + 1, -1):
            (tmp_path / name).write_text(text[:cut])
            last = [field for field in text[:cut].splitlines()[-1].split(delimiter) if field]
            if text[:cut].endswith(delimiter) and name.endswith("u"):
                last.append("")
            width = len(text.splitlines()[0].split(delimiter))
            if len(last) < width:
                with pytest.raises(SpecError, match=r"line 2: .*the file is cut there"):
                    loaded(str(tmp_path / name))


def test_words_are_cut_at_a_delimiter_that_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "r.conll"
    path.write_text("a film;O\nit;B-X\n\nis;O\n")
    source, _ = loaded(str(path), delimiter=";")
    assert source.dumped["train"].texts()[0] == ["a film\nit", "is"]


def test_tables_go_before_texts_in_folders_of_the_same_splits(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_text(f"text,label\n{split},0\nand {split},1\n")
        (tmp_path / split).mkdir()
        (tmp_path / split / "a.txt").write_text("an essay")
    source, notes = loaded(str(tmp_path))
    assert source.dumped["train"].texts()[0] == ["train", "and train"]
    assert any(note.endswith("beside other files: test/, train/") for note in notes)


def test_words_that_are_marks_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "r.conll"
    path.write_text("# O\nfilm B-X\n\n# O\nfilm O\n\n# B-X\n#film O\n")
    source, notes = loaded(str(path))
    assert source.dumped["train"].texts()[0] == ["#\nfilm", "#\nfilm", "#\n#film"]
    assert not any("comments" in note for note in notes)


@pytest.mark.parametrize("ending", ["json", "jsonl", "parquet"])
@pytest.mark.parametrize("has_labels", [True, False])
def test_words_of_nothing_but_spaces_are_led_to_lines_that_leave_them_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, has_labels: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"id": "01", "tokens": ["a"]}, *({"id": "02", "tokens": ["a", "\n\n", "b"]},) * 2]
    labels = [["O"], ["O", "O", "B-X"], ["B-X", "O", "O"]]
    table = pandas.DataFrame(rows)
    if has_labels:
        table["labels"] = labels
    name = f"r.{ending}"
    if ending == "parquet":
        table.to_parquet(name)
    else:
        table.to_json(name, orient="records", lines=ending == "jsonl")
    with pytest.raises(SpecError, match=r"in row 1 .*, such words in 2 of 3 rows\.") as caught:
        loaded(name, task="token-classification")
    command = str(caught.value).partition('python -c "')[2].partition('"')[0]
    printed(command, tmp_path)
    source, _ = loaded("OUT.jsonl", task="token-classification")
    assert source.dumped["train"].texts()[0] == ["a", "a\nb", "a\nb"]
    if has_labels:
        tags = source.dumped["train"].tags
        assert tags is not None
        assert tags.values.tolist() == [1, 1, 0, 0, 1]


def test_classes_shared_out_over_columns_are_advised_before_a_name_that_repeats(
    tmp_path: Path,
) -> None:
    rows = "".join(
        f"m{row % 3},a long answer to {row},another long answer to {row},{first},{1 - first}\n"
        for row, first in enumerate([0, 1, 0, 1, 1, 0])
    )
    path = tmp_path / "r.csv"
    path.write_text(f"model,reply_1,reply_2,wins_1,wins_2\n{rows}")
    with pytest.raises(SpecError, match="--label wins_1,wins_2"):
        load(path, Columns(), tmp_path / "spool", SILENT)
