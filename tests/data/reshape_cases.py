"""Foreign files, the kind of ``logitcache reshape`` that a refusal of them names, and their rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.data.advice_cases import Files

COUNTED = "#\tat [a]\n1\tA\tO\tO\n2\t#\tB-X\tO\n\n#\tat [b]\n1\tBe\tO\tO\n2\tit\tO\tO\n\n"
JOINED = "The{0}DT{0}O film{0}NN{0}B-X\nIt{0}PRP{0}O is{0}VB{0}O\n"
OF_JOINED = [
    {"words": ["The", "film"], "tags": ["O", "B-X"]},
    {"words": ["It", "is"], "tags": ["O", "O"]},
]
WEBANNO = "#FORMAT=WebAnno TSV 3.3\n#T_SP=a.Entity|value\n\n\n#Text=a\n1-1\t0-1\ta\tX\t\n"
SURVEY = 'text,label\nWhat?,Mood\n"{""ImportId"":""Q1""}","{""ImportId"":""Q2""}"\na b,x\nc d,y\n'
FIRST_WORDS = "a warm film\nb good cold film\n"

RASA = """version: "3.1"
nlu:
- intent: go
  examples: |
    - to [Oslo](city), please
- lookup: city
  examples: |
    - Oslo
- intent: greet
  examples: |
    - hi - you
"""
WATSON = json.dumps(
    {
        "name": "w",
        "intents": [
            {
                "intent": "go",
                "description": "",
                "examples": [{"text": "to Oslo"}, {"text": "away"}],
            },
            {"intent": "greet", "description": "", "examples": [{"text": "hi"}]},
        ],
    }
)
ANSWERS = [{"text": "Long", "answer_start": 0}]
SQUAD = json.dumps(
    {
        "data": [
            {
                "title": "T",
                "paragraphs": [
                    {
                        "context": "Long.",
                        "qas": [{"id": i, "question": f"{i}?", "answers": ANSWERS} for i in "ab"],
                    }
                ],
            }
        ]
    }
)
COMPREHEND = [
    {
        "File": "docs.txt",
        "Line": str(line),
        "Classes": [{"Name": "x", "Score": score}, {"Name": "y", "Score": 1 - score}],
    }
    for line, score in ((1, 0.75), (0, 0.5))
]


@dataclass(frozen=True)
class Foreign:
    """Files that are refused, and what the advised command writes of them."""

    advice: str  # a part of the refusal, which ends before "logitcache reshape"
    kind: str
    files: Files
    rows: list[dict[str, Any]]  # of all files that are written, in the order of their names
    options: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""  # which of the files is named; the folder without it


def labelled(*pairs: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"text": text, "label": label} for text, label in pairs]


OF_FIRST_WORDS = labelled(("warm film", "a"), ("good cold film", "b"))
FOREIGN = [
    *(
        Foreign("joined to their tags by", "tagged-words", {name: JOINED.format(mark)}, OF_JOINED)
        for name in ("r.txt", "r.tsv", "r.conll")
        for mark in "|/"
    ),
    *(
        Foreign(
            "Each line is a sentence with the tags of its words behind a tab",
            "slot-lines",
            {name: f"BOS to Oslo EOS\tO O {tag} atis_flight\nBOS hi EOS\tO O atis_x\n"},
            [
                {
                    "text": "to Oslo",
                    "intent": "atis_flight",
                    "words": ["to", "Oslo"],
                    "tags": ["O", tag],
                },
                {"text": "hi", "intent": "atis_x", "words": ["hi"], "tags": ["O"]},
            ],
        )
        for name in ("r.iob", "r.txt")
        for tag in ("B-city",)
    ),
    Foreign(
        "If R wrote it (write.table), convert it",
        "r-table",
        {"r.txt": '"text" "n"\n"1" "a \\"b\\" c" 0.5\n"2" "d" NA\n'},
        [{"text": 'a "b" c', "n": "0.5"}, {"text": "d", "n": "NA"}],
    ),
    Foreign(
        "Write a row for each",
        "labels-under-texts",
        {"r.json": '{"a warm film": "x", "a dull film": "y"}'},
        labelled(("a warm film", "x"), ("a dull film", "y")),
    ),
    Foreign(
        "If the keys are their classes",
        "texts-under-labels",
        {"r.json": '{"x": ["a", "c"], "y": ["b"]}'},
        labelled(("a", "x"), ("c", "x"), ("b", "y")),
    ),
    Foreign(
        "Put the words first, and their labels last",
        "word-columns",
        {
            "r.conll": "#begin document (d)\nd 0 a O\nd 1 long B-X\nd 2 film O\n\nd 0 it O\n\n#end document\n"
        },
        [
            {"words": ["a", "long", "film"], "tags": ["O", "B-X", "O"]},
            {"words": ["it"], "tags": ["O"]},
        ],
    ),
    Foreign(
        "Put the words first",
        "word-columns",
        {"r.conll": "O\ta\nB-X\tfilm\n\nO\tof\nO\tit\n"},
        [
            {"words": ["a", "film"], "tags": ["O", "B-X"]},
            {"words": ["of", "it"], "tags": ["O"] * 2},
        ],
    ),
    *(
        Foreign(
            advice,
            "word-columns",
            {name: COUNTED},
            [
                {"words": ["A", "#"], "tags": ["O", "B-X"]},
                {"words": ["Be", "it"], "tags": ["O", "O"]},
            ],
        )
        for name, advice in (
            ("r.conll", "else put the words first, and their labels last"),
            ("r.tsv", "If each line is a word with its tags, below comments"),
        )
    ),
    Foreign(
        "Write its words and their labels",
        "webanno",
        {"r.tsv": WEBANNO},
        [{"words": ["a"], "tags": ["B-X"]}],
        name="r.tsv",
    ),
    Foreign(
        "If each line is a tree whose root has the label",
        "trees",
        {"r.txt": "(3 (2 A) (3 (3 warm) (2 film)))\n(0 (1 Dull))\n"},
        labelled(("A warm film", "3"), ("Dull", "0")),
    ),
    Foreign(
        "If the label of each line is its last word",
        "last-word",
        {"r.txt": "a film __label__x\na book __label__y\n"},
        labelled(("a film", "x"), ("a book", "y")),
    ),
    *(
        Foreign(
            "If the first word of each line is its label",
            "first-word",
            {"r.label": FIRST_WORDS},
            OF_FIRST_WORDS,
            options={"delimiter": delimiter},
            name="r.label",
        )
        for delimiter in (None, " ")
    ),
    *(
        Foreign(
            "If the first word of each line is its label",
            "first-word",
            {"r.txt": content},
            rows,
            options={"delimiter": " "},
            name="r.txt",
        )
        for content, rows in (
            (FIRST_WORDS, OF_FIRST_WORDS),
            ("a 1 2 2\n", labelled(("1 2 2", "a"))),
            ("a 1 film\nb 2 film\n", labelled(("1 film", "a"), ("2 film", "b"))),
        )
    ),
    Foreign(
        "If the first word of each line is its label",
        "first-word",
        {"r.txt": FIRST_WORDS},
        OF_FIRST_WORDS,
    ),
    Foreign(
        "If each holds the texts of a class, one a line",
        "class-files",
        {"positive.txt": "a\n", "negative.txt": "b\n"},
        labelled(("b", "negative"), ("a", "positive")),
    ),
    Foreign(
        "Write the lines of both into one file",
        "parallel-lines",
        {
            "a_train.txt": "a\nb",
            "train_labels.txt": "x\ny",
            "test.txt": "c",
            "test_labels.txt": "x",
        },
        labelled(("c", "x"), ("a", "x"), ("b", "y")),
    ),
    Foreign(
        "Write the lines of both into one file",
        "parallel-lines",
        {"train.txt": "a\t1\nb\t2\n", "train_labels.txt": "x\ny\n"},
        [{"text": "a", "c2": "1", "label": "x"}, {"text": "b", "c2": "2", "label": "y"}],
    ),
    Foreign(
        "in.tsv and expected.tsv in a folder for each split",
        "parallel-lines",
        {
            "train/in.tsv": "a\nb\n",
            "train/expected.tsv": "x\ny\n",
            "dev-0/in.tsv": "c\n",
            "dev-0/expected.tsv": "x\n",
            "test-A/in.tsv": "d\n",
        },
        labelled(("c", "x"), ("a", "x"), ("b", "y")),
    ),
    Foreign(
        "Write their lines into one file",
        "parallel-lines",
        {"X.txt": "a film\na book\n", "Y.txt": "0\n0\n"},
        labelled(("a film", "0"), ("a book", "0")),
    ),
    *(
        Foreign(
            "if the commas are of the texts",
            "label-by-comma",
            {"r.csv": content},
            labelled(("a, b", "x"), ("c", "y")),
        )
        for content in (
            "label,text\nx,a, b\ny,c\n",
            "text,label\na, b,x\nc,y\n",
            "review,sentiment\na, b,x\nc,y\n",
        )
    ),
    Foreign(
        "Write the texts into the table",
        "texts-of-files",
        {"a.txt": "a film", "b.txt": "a book", "r.csv": "file,label\na.txt,x\nb.txt,y\n"},
        [
            {"file": "a.txt", "label": "x", "text": "a film"},
            {"file": "b.txt", "label": "y", "text": "a book"},
        ],
    ),
    Foreign(
        "Write its rows alone",
        "qualtrics",
        {"r.csv": SURVEY},
        labelled(("a b", "x"), ("c d", "y")),
        name="r.csv",
    ),
    Foreign(
        "Convert it",
        "orange",
        {"r.tab": "text\tn\tmood\nstring\tcontinuous\tx y\nmeta\t\tclass\na b\t1\tx\nc d\t2\ty\n"},
        [{"text": "a b", "n": "1", "mood": "x"}, {"text": "c d", "n": "2", "mood": "y"}],
        name="r.tab",
    ),
    Foreign(
        "Write the examples of its intents",
        "rasa",
        {"nlu.yml": RASA},
        labelled(("to Oslo, please", "go"), ("hi - you", "greet")),
        name="nlu.yml",
    ),
    Foreign(
        "Write a row for each of the innermost",
        "nested-lists",
        {"r.json": WATSON},
        [
            {"intent": "go", "description": "", "text": "to Oslo"},
            {"intent": "go", "description": "", "text": "away"},
            {"intent": "greet", "description": "", "text": "hi"},
        ],
    ),
    Foreign(
        "Write a row for each of the innermost",
        "nested-lists",
        {"r.json": SQUAD},
        [
            {"title": "T", "context": "Long.", "id": i, "question": f"{i}?", "answers": ANSWERS}
            for i in "ab"
        ],
    ),
    Foreign(
        "Write each line with its scores",
        "comprehend",
        {
            "docs.txt": "one film\ntwo films\n",
            "r.jsonl": "".join(f"{json.dumps(answer)}\n" for answer in COMPREHEND),
        },
        [
            {"text": "two films", "probs": {"x": 0.75, "y": 0.25}},
            {"text": "one film", "probs": {"x": 0.5, "y": 0.5}},
        ],
        name="r.jsonl",
    ),
    Foreign(
        "Write each line with its scores",
        "comprehend",
        {
            "docs.csv": 'y,"one, film"\nx,two films\n',
            "r.jsonl": "".join(
                f"{json.dumps({**answer, 'File': 'docs.csv'})}\n" for answer in COMPREHEND
            )
            + '{"File": "docs.csv", "Line": "1", "ErrorCode": "X", "Classes": null}\n',
        },
        [
            {"label": "x", "text": "two films", "probs": {"x": 0.75, "y": 0.25}},
            {"label": "y", "text": "one, film", "probs": {"x": 0.5, "y": 0.5}},
            {"label": "x", "text": "two films", "probs": None},
        ],
        name="r.jsonl",
    ),
    Foreign(
        "Write the objects under its keys as rows",
        "rows-under-keys",
        {"r.json": '{"a": {"text": {"b": "a"}, "label": "x"}, "b": {"text": {}, "label": "y"}}'},
        [{"text": {"b": "a"}, "label": "x"}, {"text": {}, "label": "y"}],
    ),
]
