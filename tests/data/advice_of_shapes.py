"""Cases of advice about the shapes that tools and people write rows in."""

from __future__ import annotations

import io
import json
import pickle
import re

import pandas

from tests.data.advice_cases import CONLL, GOOD, JSONL, ROWS, Case, csv, labels, parquet

ESCAPED = 'text,label\n"a \\"b\\", c",x\nd,y\n'
CHATS = "".join(
    json.dumps({"messages": [{"role": r, "content": f"{r} {i}"} for r in ("user", "assistant")]})
    + "\n"
    for i in range(2)
)
NESTED = "".join(
    json.dumps({"doc": {"body": f"some words {i}"}, "mood": {"name": i}}) + "\n" for i in "ab"
)
BATCH_OUTPUT = "".join(
    json.dumps(
        {
            "custom_id": f"row-{i}",
            "response": {
                "status_code": 200,
                "body": {"choices": [{"message": {"content": label}}]},
            },
            "error": None,
        }
    )
    + "\n"
    for i, label in enumerate(("pos", "neg"))
)
SPANS = json.dumps(
    [{"data": {"text": "a b"}, "annotations": [{"result": [{"value": {"labels": ["X"]}}]}]}]
)
PARTS = '{"text": "one two", "label": [[0, 3, "X"]]}\n' * 1000
JSONL_OF_WORDS = '{"words": ["a"], "tags": ["X"]}\n'
CONLLU = "".join(
    f"{i}\t{word}\t{word}\t{tag}\t_\t_\t0\troot\t_\t_\n"
    for i, word, tag in ((1, "a", "DET"), (2, "film", "NOUN"))
)
TURNS = json.dumps({"turns": [{"role": "user", "parts": [{"text": "a b c"}]}]}) + "\n"
PYTHON = "".join(f"{row!r}\n" for row in ROWS)
OF_FIRST_WORDS = "a warm film\nb good cold film\n"
BY_FIRST_SPACE = "write: sed 's/^[^ ]/__label__&/' FILE > OUT.txt"
FAST_TEXT = re.sub("(?m)^[^ ]", r"__label__\g<0>", OF_FIRST_WORDS)  # what that command writes
WEBANNO = "#FORMAT=WebAnno TSV 3.3\n#T_SP=a.Entity|value\n\n\n#Text=a\n1-1\t0-1\ta\tX\t\n"
SURVEY = 'text,label\nWhat?,Mood\n"{""ImportId"":""Q1""}","{""ImportId"":""Q2""}"\na b,x\nc d,y\n'
SHAPES = [
    *(
        Case(
            "columns words and tags of lists.",
            {f"{folder}/1.txt": "a b", f"{folder}/2.txt": "a c", f"{ann}/1.ann": "T1\tX 0 1\ta\n"},
            {
                f"{folder}/1.txt": None,
                f"{folder}/2.txt": None,
                f"{ann}/1.ann": None,
                "train.jsonl": JSONL_OF_WORDS,
            },
            rows=1,
        )
        for folder, ann in (("corpus/train", "corpus/train"), ("train/text", "train/ann"))
    ),
    *(
        csv(
            f"Remove the comments: the lines that begin with {mark!r}",
            f"{mark} exported by a tool in 2020\n{GOOD}",
            GOOD,
        )
        for mark in "#%"
    ),
    Case(
        "If 'tokens' holds the words of a text, join them: python -c",
        {"r.jsonl": '{"id": 1, "tokens": ["a", "b"]}\n'},
        {"r.jsonl": JSONL},
    ),
    Case(
        "columns words and tags of lists.",
        {"1.txt": "a b", "2.txt": "c", "1.ann": "T1\tX 0 1\ta\n"},
        {"1.txt": None, "2.txt": None, "1.ann": None, "train.jsonl": JSONL_OF_WORDS},
        rows=1,
    ),
    Case(
        "expected the rows of dev, as the folder is called, found train.csv. Rename the file",
        {"train/train.csv": GOOD, "dev/train.csv": GOOD},
        {"dev/train.csv": None, "dev/dev.csv": GOOD},
    ),
    Case(
        "Name it .conllu if it is CoNLL-U",
        {"r.conll": CONLLU},
        {"r.conll": None, "r.conllu": CONLLU},
        then_name="r.conllu",
        rows=1,
    ),
    Case("or name it .conll if", {"r.conllu": CONLL}, {"r.conllu": None, "r.conll": CONLL}),
    Case(
        "If each line is a word and its tag, name the file .conll.",
        {"r.tsv": "a\tX\nb\tY\n\na\tX\n"},
        {"r.tsv": None, "r.conll": "a\tX\nb\tY\n\na\tX\n"},
        then_name="r.conll",
    ),
    csv("Remove the line.", "text|label\n---|---\na|x\nb|y\n", "text|label\na|x\nb|y\n"),
    *(
        Case(
            "Write its rows with the library it was made with, as one parquet file.",
            {log: "{}", "a.parquet": parquet(), "b.parquet": parquet()},
            {"r.parquet": parquet()},
            then_name="r.parquet",
        )
        for log in ("_delta_log/0.json", "metadata/v1.metadata.json", ".hoodie/x")
    ),
    Case(
        "write one file, with pandas: read_parquet(FOLDER).to_parquet(OUT).",
        {f"label={i}/0.parquet": parquet() for i in "ab"},
        {"r.parquet": parquet()},
        then_name="r.parquet",
    ),
    Case(
        "Name a folder below: data/en, data/fr.",
        {f"data/{i}/train.csv": GOOD for i in ("en", "fr")},
        then_name="data/en",
    ),
    Case(
        "Write the texts and the labels as columns of one file",
        {"test.csv": "text\na\nb\n", "test_labels.csv": "label\n0\n1\n"},
        {"test.csv": None, "test_labels.csv": None, "train.csv": GOOD},
    ),
    Case(
        "files of a class each into one file with a column label",
        {"pos.csv": "text\na\n", "neg.csv": "text\nb\n"},
        {"train.csv": GOOD},
    ),
    Case(
        "If it holds an object of JSON a line, name it r.manifest.jsonl.",
        {"r.manifest": JSONL},
        {"r.manifest": None, "r.manifest.jsonl": JSONL},
        name="r.manifest",
        then_name="r.manifest.jsonl",
    ),
    Case("with json.dumps(ast.literal_eval(LINE)).", {"r.jsonl": PYTHON}, {"r.jsonl": JSONL}),
    Case(
        "with json.dumps(ast.literal_eval(LINE)).", {"r.jsonl": JSONL + PYTHON}, {"r.jsonl": JSONL}
    ),
    Case(
        "If each text of 'patterns' is a row, write one for each: python -c",
        {"r.jsonl": '{"tag": "x", "patterns": ["a b c", "b c d"]}\n'},
        {"r.jsonl": JSONL},
    ),
    Case(
        "save them as a column messages of lists of role and content",
        {"r.jsonl": TURNS},
        {"r.jsonl": CHATS},
        more={"task": "causal-lm"},
    ),
    Case(
        "save what the model is asked (instruction and input) as prompt, and what it answers as completion",
        {"r.jsonl": '{"instruction": "a", "input": "b", "output": "c"}\n'},
        {"r.jsonl": '{"prompt": "a\\n\\nb", "completion": "c"}\n'},
        {"task": "causal-lm"},
        rows=1,
    ),
    Case(
        "save each row's words and their labels, as columns words and tags of lists.",
        {"r.jsonl": '{"text": "a b", "label": "X"}'},
        {"r.jsonl": JSONL_OF_WORDS},
        {"task": "token-classification"},
        rows=1,
    ),
    *(
        labels(
            "for example --label label.name", [cell("x"), cell("y")], more={"label": "label.name"}
        )
        for cell in (
            lambda name: [{"id": 1, "name": name}],
            lambda name: {"id": 1, "name": name},
            lambda name: f"```json\n{json.dumps({'id': 1, 'name': name})}\n```",
        )
    ),
    Case(
        "Look up the text of each custom_id in the batch's input, and save a text and a label",
        {"r.jsonl": BATCH_OUTPUT},
        {"r.jsonl": JSONL},
    ),
    csv(
        "Name all 3 columns with --header.",
        "0,a,1\n1,b,2\n",
        "0,a,1\n1,b,2\n",
        options={"header": ("label", "text")},
        more={"header": ("label", "text", "id")},
    ),
    csv(
        "for example --text tweet --label mood.",
        "id,tweet,mood\n1,a b c,x\n2,b c d,y\n",
        "id,tweet,mood\n1,a b c,x\n2,b c d,y\n",
        more={"text": "tweet", "label": "mood"},
    ),
    csv(
        "Did you mean --text tweet_text?",
        "tweet_text,label\na,x\nb,y\n",
        "tweet_text,label\na,x\nb,y\n",
        options={"text": "TweetText"},
        more={"text": "tweet_text"},
    ),
    csv(
        r"read_csv(FILE, escapechar='\\').to_csv(OUT, index=False)",
        ESCAPED,
        pandas.read_csv(io.StringIO(ESCAPED), escapechar="\\").to_csv(index=False),
    ),
    Case(
        "Give --delimiter '@' if it separates fields. If the first line is a row, name the columns with --header, "
        "for example --header text,label",
        {"train.txt": "a warm film@x\na cold film@y\n"},
        more={"delimiter": "@", "header": ("text", "label")},
    ),
    Case(
        "give all files the same header line and leave --header out",
        {"train.tsv": "x\t0\ta\ny\t1\tb\n", "test.tsv": "index\tsentence\n0\tc\n"},
        {"train.tsv": "c1\tlabel\tsentence\nx\t0\ta\ny\t1\tb\n"},
        options={"header": ("c1", "label", "sentence")},
        more={"header": None},
    ),
    Case(
        "If the first line is a row, name the columns with --header",
        {"train.csv": "0,a\n1,b\n", "test.csv": "label,text\n0,a\n"},
        {"test.csv": None},
        more={"header": ("label", "text")},
    ),
    Case(
        "Give each the ending of what it is (train.csv)",
        {"x.pos": "a\n", "x.neg": "b\n"},
        {"train.csv": GOOD},
    ),
    Case("--task causal-lm", {"r.jsonl": CHATS}, more={"task": "causal-lm"}),
    Case("save a text and a label for each", {"r.jsonl": CHATS}, {"r.jsonl": JSONL}),
    Case(
        "for example --text doc.body --label mood.name.",
        {"r.jsonl": NESTED},
        more={"text": "doc.body", "label": "mood.name"},
    ),
    Case(
        "Export the project as CONLL2003, and name the file .conll.",
        {"r.json": SPANS},
        {"r.json": None, "r.conll": CONLL},
    ),
    Case(
        "Give each class a folder of its texts, and nothing else in it (train/pos/1.txt)",
        {"train/1_pos.txt": "a", "train/2_neg.txt": "b"},
        {
            "train/1_pos.txt": None,
            "train/2_neg.txt": None,
            "train/pos/1.txt": "a",
            "train/neg/2.txt": "b",
        },
    ),
    Case(
        "Remove the file.",
        {"a/1.txt": "a", "b/1.txt": "some text\0", "b/2.txt": "b"},
        {"b/1.txt": None},
    ),
    Case(
        "Keep one.",
        {f"{split}/{kind}/1.txt": kind for split in ("train", "training") for kind in "ab"},
        {"training/a/1.txt": None, "training/b/1.txt": None},
    ),
    Case(
        "Convert it: python -c \"import pandas; pandas.DataFrame(pandas.read_pickle('",
        {"r.pkl": pickle.dumps(pandas.DataFrame(ROWS))},
        {"r.parquet": parquet()},
        name="r.pkl",
        then_name="r.parquet",
    ),
    Case(
        "if the keys are their classes, with the key as label of each.",
        {"r.json": json.dumps({"x": [{"text": "a"}], "y": [{"text": "b"}]})},
        {"r.json": None, "r.jsonl": JSONL},
    ),
    Case(
        "give --task causal-lm", {"train.txt": "a warm film\n"}, more={"task": "causal-lm"}, rows=1
    ),
    Case("Did you mean", {"reviews.csv": GOOD}, name="review.csv", then_name="reviews.csv"),
    labels("Keep one label a row", ["2", "2,3", "3"], ["2", "2", "3"]),
    labels("save it as a column of 0 and 1", [["a", "b"], ["a"]], [1, 0]),
    labels(
        "Train one class at a time: --label label.a",
        [{"a": 1, "b": 1}, {"a": 0, "b": 1}],
        more={"label": "label.a"},
    ),
    labels(
        "Name a value in it, for example --label label.n", [{"n": "x"}], more={"label": "label.n"}
    ),
    labels(
        "Name another column with --label",
        [{"a": 3, "b": 1}, {"a": 0, "b": 1}],
        more={"label": "label.a"},
    ),
    Case(
        "Mend the row.",
        {"r.jsonl": PARTS + '{"text": "one two", "label": [[0, 3]]}'},
        {"r.jsonl": PARTS + '{"text": "one two", "label": [[0, 3, "X"]]}'},
        rows=1001,
    ),
    Case(
        "Add 1 to ends that are of the last character",
        {"r.jsonl": '{"text": "one two", "label": [[0, 2, "X"]]}'},
        {"r.jsonl": '{"text": "one two", "label": [[0, 3, "X"]]}'},
        rows=1,
    ),
    *(
        Case(
            "Correct the row or leave it out.",
            {"r.jsonl": JSONL_OF_WORDS + row},
            {"r.jsonl": JSONL_OF_WORDS},
            rows=1,
        )
        for row in (
            '{"words": "a", "tags": ["X"]}',
            '{"words": ["a\\n"], "tags": ["X"]}',
            '{"words": ["a"], "tags": []}',
        )
    ),
    Case(
        "Give it the same name.",
        {"train.jsonl": JSONL_OF_WORDS, "dev.jsonl": JSONL},
        {"dev.jsonl": JSONL_OF_WORDS},
        options={"task": "token-classification"},
        rows=1,
    ),
    Case(
        "Name them with --text and --label; or",
        {"r.jsonl": '{"w": ["a"], "t": ["X"]}'},
        options={"task": "token-classification"},
        more={"text": "w", "label": "t"},
        rows=1,
    ),
]
