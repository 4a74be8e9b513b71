"""Answers as people have them in tables: which shapes are read, what the numbers are, and what is
refused.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitcache.config.answers import TABLES, AnswerSource, answer_source
from logitcache.data.answer_columns import read_columns
from logitcache.data.soft_labels import ZERO, Kind, SoftLabels, read_array
from logitcache.data.sources.conll import read_conll, read_conllu
from logitcache.data.sources.content import PACKINGS
from logitcache.data.sources.reading import READERS
from logitcache.data.sources.tables import Table
from logitcache.errors import SpecError

NAMES = ("neg", "neu", "pos")
PROBABILITIES = [[0.7, 0.2, 0.1], [0.0, 0.25, 0.75], [1.0, 0.0, 0.0]]
COLUMN = AnswerSource(False, ("probs",))


def table(**columns: Any) -> Table:
    return Table(
        "answers", columns, range(len(next(iter(columns.values())))), typed=True, unit="row"
    )


def cells(write: Callable[[list[float]], Any]) -> Table:
    return table(probs=[write(row) for row in PROBABILITIES])


def named(row: list[float]) -> dict[str, float]:
    return dict(zip(NAMES, row, strict=True))


def pipeline(row: list[float]) -> list[dict[str, Any]]:
    pairs = sorted(zip(NAMES, row, strict=True), key=lambda pair: -pair[1])
    return [{"label": name, "score": score} for name, score in pairs]


IN_ORDER: dict[str, Table] = {
    "lists": cells(list),
    "arrays": cells(np.array),
    "json": cells(json.dumps),
    "numpy's print": cells(lambda row: str(np.array(row))),
    "numpy's and torch's call": cells(lambda row: f"tensor({row}, device='cuda:0')"),
    "numbers with spaces": cells(lambda row: " ".join(map(str, row))),
    "numbers with commas": cells(lambda row: ", ".join(map(str, row))),
    "percentages": cells(lambda row: [100 * number for number in row]),
    "arrow lists": table(
        probs=pa.chunked_array([pa.array(PROBABILITIES[:1]), pa.array(PROBABILITIES[1:])])
    ),
    "arrow half lists": table(probs=pa.array([np.array(row, np.float16) for row in PROBABILITIES])),
    "arrow fixed lists": table(probs=pa.array(PROBABILITIES, pa.list_(pa.float64(), 3))),
    "texts of numbers": cells(lambda row: list(map(str, row))),
    "log-likelihoods with a sign": cells(lambda row: [[str(number), "False"] for number in row]),
    "log-likelihoods in lists": cells(lambda row: [[[number, True]] for number in row]),
    "one gap": table(probs=[None, *PROBABILITIES]),
}
BY_NAME: dict[str, Table] = {
    "mappings": cells(named),
    "mappings in json": cells(lambda row: json.dumps(named(row))),
    "mappings as python prints them": cells(lambda row: str(named(row))),
    "without zeros": cells(lambda row: {name: p for name, p in named(row).items() if p}),
    "a pipeline's output": cells(pipeline),
    "a pipeline's output for one call": cells(lambda row: [pipeline(row)]),
    "names and numbers": cells(
        lambda row: ", ".join(f"{name}: {p}" for name, p in named(row).items())
    ),
    "pairs": cells(lambda row: list(named(row).items())),
    "a zero-shot pipeline's output": cells(lambda row: {"labels": list(NAMES), "scores": row}),
    "a list turned round": cells(lambda row: {"label": list(NAMES), "score": row}),
    "arrow structs": table(probs=pa.array([named(row) for row in PROBABILITIES])),
    "arrow lists of structs": table(probs=pa.array([pipeline(row) for row in PROBABILITIES])),
}


def probabilities(labels: SoftLabels, source: AnswerSource = COLUMN) -> Any:
    logits, kind = labels.logits(source)
    assert kind is Kind.PROBABILITIES
    exp = np.exp(logits.astype(np.float64))
    return exp / exp.sum(axis=1, keepdims=True)


def test_names_of_classes_are_one_class_a_row() -> None:
    names = read_columns(table(gpt=["neg", "pos", "", "pos"]), ["gpt"])
    assert names.logits(COLUMN)[1] is Kind.CLASSES
    votes = read_columns(table(gpt=[["neg"], ["pos", "neg"]]), ["gpt"])
    assert votes.logits(COLUMN)[1] is Kind.VOTES


@pytest.mark.parametrize("shape", IN_ORDER)
def test_numbers_in_order(shape: str) -> None:
    labels = read_columns(IN_ORDER[shape], ["probs"])
    assert labels.names is None
    np.testing.assert_allclose(probabilities(labels)[-3:], PROBABILITIES, atol=1e-3)
    assert np.isnan(labels.values[:-3]).all()


@pytest.mark.parametrize("shape", BY_NAME)
def test_numbers_by_name(shape: str) -> None:
    labels = read_columns(BY_NAME[shape], ["probs"])
    assert labels.names is not None
    order = [labels.names.index(name) for name in NAMES]
    np.testing.assert_allclose(probabilities(labels)[:, order], PROBABILITIES, atol=1e-6)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (["p_*"], NAMES),
        (["p_neg", "p_neu", "p_pos"], NAMES),
        (["neg", "neu", "pos"], NAMES),
        (["neg prob", "neu prob", "pos prob"], NAMES),
        (["p0", "p1", "p2"], ("p0", "p1", "p2")),
        (["p_neg_score", "p_neu_score", "p_pos_score"], NAMES),
        (["*_prob"], NAMES),
    ],
)
def test_a_column_for_each_class(columns: list[str], expected: tuple[str, ...]) -> None:
    names = [columns[0].replace("*", name) for name in NAMES] if len(columns) == 1 else columns
    written = zip(names, zip(*PROBABILITIES, strict=True), strict=True)
    labels = read_columns(
        table(**{name: [str(p) for p in column] for name, column in written}), columns
    )
    assert labels.names == expected
    np.testing.assert_allclose(probabilities(labels), PROBABILITIES, atol=1e-6)


@pytest.mark.parametrize(
    "answers",
    [
        [["b", "a", "b"], ["a"], []],
        ["b", "a", None],
        [["b", "", "b", "a"], ["a", ""], ["", " "]],
        [{"b": 4, "a": 2}, {"a": 1}, {}],
        [[2, 4], [1, 0], [0, 0]],
    ],
    ids=["names", "one name", "names and blanks", "counts by name", "counts"],
)
def test_votes_are_counted_and_none_is_no_answer(answers: list[Any]) -> None:
    labels = read_columns(table(probs=answers), ["probs"])
    logits, _ = labels.logits(COLUMN)
    b = 1 if labels.names is None else labels.names.index("b")
    assert np.isnan(logits[2]).all()
    assert logits[1, b] == ZERO
    assert logits[0].argmax() == b


@given(st.lists(st.lists(st.floats(0.001, 1), min_size=4, max_size=4), min_size=1, max_size=8))
def test_probabilities_survive_as_logits_at_temperature_one(rows: list[list[float]]) -> None:
    p = np.array(rows) / np.sum(rows, axis=1, keepdims=True)
    labels = read_columns(table(probs=p.tolist()), ["probs"])
    np.testing.assert_allclose(probabilities(labels), p, atol=1e-6)


def test_logits_are_declared_and_minus_infinity_is_probability_zero() -> None:
    labels = read_columns(table(probs=[[3.0, -1.0, float("-inf")], [0.5, 0.25, 0.25]]), ["probs"])
    logits, kind = labels.logits(AnswerSource(True, ("probs",)))
    assert kind is Kind.LOGITS
    assert logits[0].tolist() == [0, -4, ZERO]
    with pytest.raises(
        SpecError, match=r"row 0: expected probabilities or votes.*--teacher logits:probs"
    ):
        labels.logits(COLUMN)


def test_a_class_without_a_logit_is_not_taken_for_zero() -> None:
    labels = read_columns(table(z=[{"a": -0.5, "b": -1.0}, {"b": -0.1}]), ["z"], absent=np.nan)
    with pytest.raises(
        SpecError, match="row 1: expected a number for each class, found NaN or nothing"
    ):
        labels.logits(AnswerSource(True, ("z",)))


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([[0.5, 0.5], [0.5, 0.4]], "row 1: expected .*numbers that sum to 0.9"),
        ([[0.5, 0.5], [0.5, 0.4]], "If no class is missing, divide each row by its sum"),
        ([[0.5, 0.5], [3.0, 1.5]], "If they are logits, say so"),
        ([[0.5, 0.5], [70.5, 29.5]], "row 1: expected .*numbers that sum to 100"),
        ([[0.5, 0.5], [1.2, -0.2]], "row 1: expected .*below 0"),
        ([[0.5, 0.5], [0.5, float("nan")]], "row 1: expected a number for each class, found NaN"),
        ([[0.5, 0.5], [0.5, 0.25, 0.25]], "row 1: expected 2 numbers"),
        ([{"a": 1.0}, [1.0]], "row 1: expected classes by name"),
        (
            [{"a": 0.5, "b": 0.5}, [["a", 1.0], ["a", 1.0]]],
            "row 1: expected a list of numbers, numbers by class",
        ),
        ([0.5, 0.25], "row 0: expected a number for each class"),
        ([3, 4], r"row 0: expected .*column:A,B or column:PREFIX\*"),
        (["0.93", "0.5"], r"row 0: .* in column 'probs', found '0.93'. .*top_k=None"),
        (["92%", "8%"], "row 0: expected a number for each class .*found '92%'"),
        ([{"a": "92%", "b": "8%"}], "row 0: .*Write numbers with a point, such as 0.92 for"),
        (["pos (0.93)", "neg (0.5)"], r"row 0: expected a number for each class.*top_k=None"),
        (
            [[{"token": "pos", "logprob": -0.1}]],
            r"row 0: .*found log-probabilities of tokens\. Save",
        ),
        ([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2]] * 9, "numbers that fall from the first to the last"),
        ([[2, 1, 2], [0, 0, 1]], "may as well be the class numbers that annotators chose"),
        (["{{1:2}}", "[0.5]"], "row 1: expected classes by name"),
        ([None, None], "expected answers in column 'probs', found none in any row"),
    ],
)
def test_what_is_refused_names_the_row(answers: list[Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read_columns(table(probs=answers), ["probs"]).logits(COLUMN)


@pytest.mark.parametrize(
    "spelled",
    [
        "column:p",
        "column:p_*@a/b.csv",
        "logits:z",
        "logits:x.npy",
        "file:x.npz",
        "file:/a@b/x.npy",
        "logits:/a@b/x.npy",
    ],
)
def test_a_spelling_is_what_its_own_name_says(spelled: str) -> None:
    source = answer_source(spelled)
    assert source is not None
    file = None if source.file is None else source.file[-5:]
    assert answer_source(source.name) == AnswerSource(source.are_logits, source.columns, file)


def test_arrays_of_other_writers_are_led_to_one_of_numpy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SpecError, match=r"numpy\.save\('answers\.npy', torch\.load\('a\.pt',"):
        answer_source("file:a.pt")
    with pytest.raises(SpecError, match=r"numpy\.save") as caught:
        answer_source("file:probs.pkl")
    code = str(caught.value).partition("rows by classes: ")[2].partition(". ")[0]
    numbers = np.array([[0.5, 0.5], [0.25, 0.75]])
    pandas.to_pickle(pandas.DataFrame(numbers), "probs.pkl")
    exec(code, {"numpy": np, "pandas": pandas})
    np.testing.assert_array_equal(read_array("answers.npy").values, numbers)


@pytest.mark.parametrize("model", ["roberta-large", "org/name", "a/folder", "2x128", "C:\\teacher"])
def test_a_model_is_no_answer_source(model: str) -> None:
    assert answer_source(model) is None


@pytest.mark.parametrize(
    "spelled", ["column:", "column:a,", "column:a@", "column:a*,b", "column:a,a", "file:x", "a.csv"]
)
def test_half_a_spelling_is_refused(spelled: str) -> None:
    with pytest.raises(SpecError, match="--teacher: expected"):
        answer_source(spelled)


def test_every_table_that_is_read_is_no_model() -> None:
    """Files of words hold no answers."""
    words = {ending for ending, read in READERS.items() if read in (read_conll, read_conllu)}
    assert set(TABLES) == {*READERS, *PACKINGS} - words
    for ending in TABLES:
        with pytest.raises(SpecError, match=f"found a table alone, x{ending}"):
            answer_source(f"x{ending}")


def test_class_names_that_stand_beside_their_numbers_are_taken() -> None:
    """Lists in the order of their sizes were taken for numbers in the order of the classes."""
    rows = [sorted(zip(row, NAMES, strict=True), reverse=True) for row in PROBABILITIES]
    scores = [[number for number, _ in row] for row in rows]
    names = [[name for _, name in row] for row in rows]
    pairs = [[{"score": p, "label": name} for p, name in row] for row in rows]
    for answers, column in (
        (table(scores=scores, labels=names), "scores"),
        (table(zero_shot=[{"scores": s, "labels": n} for s, n in zip(scores, names, strict=True)]),
         "zero_shot.scores"),
        (table(top=pairs), "top.score"),
    ):  # fmt: skip
        labels = read_columns(answers, [column])
        assert labels.names is not None
        order = [labels.names.index(name) for name in NAMES]
        np.testing.assert_allclose(probabilities(labels)[:, order], PROBABILITIES, atol=1e-6)
    gold = table(scores=PROBABILITIES, labels=["neg", "pos", "neg"])
    assert read_columns(gold, ["scores"]).names is None


def test_numbers_without_brackets_may_be_classes() -> None:
    labels = read_columns(table(probs=["2,3", "0.5", "pos"][::2]), ["probs"])
    assert labels.names == ("2,3", "pos")
    labels = read_columns(table(votes=["['pos' 'pos' 'neg']", "['neg']"]), ["votes"])
    assert labels.names == ("pos", "neg")
    np.testing.assert_array_equal(labels.values, [[2, 1], [0, 1]])


def test_ratings_as_texts_stay_votes() -> None:
    labels = read_columns(table(votes=[["4.0", "5.0", "4.0"]]), ["votes"])
    assert (labels.names, labels.values.tolist()) == (("4.0", "5.0"), [[2.0, 1.0]])


def test_votes_of_labelling_functions_are_no_numbers_for_classes() -> None:
    with pytest.raises(SpecError, match="votes of labelling functions: write those of each row"):
        read_columns(table(lf_a=[0, 1], lf_b=[-1, 1]), ["lf_*"])
    votes = table(votes=[["neg"], ["pos", "pos"]])
    assert read_columns(votes, ["votes"]).names == ("neg", "pos")


def test_percentages_are_written_as_numbers() -> None:
    for cells in (["92%"], ["8%"]), (["0,92"], ["0,08"]):
        with pytest.raises(SpecError, match=r"row 0: .*such as 0\.92 for 0,92 or 92%"):
            read_columns(table(a=cells[0], b=cells[1]), ["a", "b"])
    assert read_columns(table(a=["0.92"], b=["0.08"]), ["a", "b"]).values.tolist() == [[0.92, 0.08]]


def test_advice_about_columns_is_followed() -> None:
    answers = table(probs=PROBABILITIES, text=["a", "b", "c"])
    with pytest.raises(SpecError, match=r"Did you mean --teacher column:probs\?"):
        read_columns(answers, ["Prob"])
    with pytest.raises(SpecError, match=r"found probs, text. Name one of these."):
        read_columns(answers, ["y"])
    np.testing.assert_array_equal(read_columns(answers, ["probs"]).values, PROBABILITIES)


@pytest.mark.parametrize(
    ("content", "advice"),
    [
        ({"a": [[0.5, 0.5]], "b": [[0.5, 0.5]]}, "Save one."),
        (
            {"a": [0.5, 0.5]},
            "Save one row for each row of the data, and one column for each class.",
        ),
        (b"text", "Write it with numpy.save."),
    ],
)
def test_advice_about_arrays_is_followed(tmp_path: Path, content: Any, advice: str) -> None:
    file = tmp_path / "answers.npz"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        np.savez(file, **content)
    with pytest.raises(SpecError, match=advice):
        read_array(str(file))
    np.save(tmp_path / "saved.npy", PROBABILITIES)
    shutil.move(tmp_path / "saved.npy", file)
    np.testing.assert_array_equal(read_array(str(file)).values, PROBABILITIES)


def test_ratings_by_as_many_raters_as_classes_are_no_counts() -> None:
    ratings = [[1, 3, 3], [2, 2, 1], [3, 1, 1], [2, 3, 3], [1, 1, 2]]
    columns = {str(rater): [row[rater - 1] for row in ratings] for rater in (1, 2, 3)}
    with pytest.raises(SpecError, match="may as well be the class numbers that annotators chose"):
        read_columns(table(**columns), list(columns)).logits(COLUMN)
    counts = {**columns, "1": [0, *columns["1"][1:]]}
    assert read_columns(table(**counts), list(columns)).logits(COLUMN)[1] is Kind.VOTES
