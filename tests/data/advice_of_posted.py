"""Cases of advice about files as people post them."""

from __future__ import annotations

import json

from tests.data.advice_cases import GOOD, Case, csv
from tests.data.advice_of_shapes import JSONL_OF_WORDS

TREES = "(3 (2 A) (3 (3 warm) (2 film)))\n(0 (1 Dull))\n"
OF_TREES = "__label__3 A warm film\n__label__0 Dull\n"  # what sed writes
OF_TAGS = "a\tO\nfilm\tB-X\n\na\tO\nfilm\tB-X\nof\tO\n"
NUMBERED = "1,{0},a dull film of {0}\n2,b,a book of old days\n2,c,a warm film\n1,d,a song of love\n"
PAIRED = '{"sentence_B": "in some words", "sentence_A": "some more words", "label": 1}\n'
NESTED_PAIR = '{"pair": {"premise": "more words go", "hypothesis": "and more words"}, "label": 1}\n'
CLASSES = "hello there,greet\nbye now,leave\n"
RCT = "###1\nAIM\ta warm old film\nEND\ta dull old film\n\n"
COUNTED = "#\tat [a]\n1\tA\tO\tO\n2\t#\tB-X\tO\n\n#\tat [b]\n1\tBe\tO\tO\n2\tit\tO\tO\n\n"
WITHOUT_COMMENTS = "".join(
    line for line in COUNTED.splitlines(keepends=True) if not line.startswith("#")
)
MARKED = "#\tat:a\nA\tO\nfilm\tB-X\n\n#\tat:b\nBe\tO\nit\tO\n\n"
MARKS = 'A\tO\n"\tO\nfilm\tB-X\n"\tO\n\nit\tO\n'
PROMPTS = "".join(
    json.dumps({"instruction": f"{2 + i % 2} long words of a prompt", "input": f"a warm film {i}", "output": label})
    + "\n"
    for i, label in enumerate("xyxyx")
)  # fmt: skip
OF_CHOICES = (
    {"text": "q", "choices": ["a", "b"], "label": 0},
    {"text": "r", "choices": ["c", "d"], "label": 1},
)
ESSAYS = "".join(f"i{row},e{row // 3},a long essay of {row},{'xy'[row % 2]}\n" for row in range(8))
OF_TURNS = "".join(
    json.dumps({"role": role, "text": f"some {role}"}) + "\n" for role in ("user", "assistant")
)
SENTENCES = [[["a", "film"], ["it", "is"]], [["B", "O"], ["O", "O"]]]
JOINED = "The{0}DT{0}O film{0}NN{0}B-X\nIt{0}PRP{0}O\n"
POSTED = [
    Case(
        "If tabs separate its fields, name it SMSSpamCollection.tsv. If the first line is a row, name the columns "
        "with --header, for example --header label,text.",
        {"SMSSpamCollection": "".join(f"{'hs'[i % 2]}am\tsome words of {i}\n" for i in range(6))},
        {
            "SMSSpamCollection.tsv": "".join(
                f"{'hs'[i % 2]}am\tsome words of {i}\n" for i in range(6)
            )
        },
        more={"header": ("label", "text")},
        name="SMSSpamCollection",
        then_name="SMSSpamCollection.tsv",
        rows=6,
    ),
    Case("If SQLite wrote it, with pandas: ", {"r.sql": "-- rows"}, {"r.sql": None, "r.csv": GOOD}),
    Case(
        'save each row as {"text": "...", "entities": [[start, end, "LABEL"]]}',
        {"r.json": '[["a film", {"entities": [[2, 6, "X"]]}]]'},
        {"r.json": None, "r.jsonl": '{"text": "a film", "entities": [[2, 6, "X"]]}'},
        rows=1,
    ),
    Case(
        "Name them: --header text,of --label of.cats.",
        {"r.json": '[["a", {"cats": {"X": 1, "Y": 0}}], ["b", {"cats": {"X": 0, "Y": 1}}]]'},
        {},
        more={"header": ("text", "of"), "label": "of.cats"},
    ),
    Case(
        "Fetch or save it again, or remove the line.",
        {"r.conll": "a N x\nb N y\n\nc N"},
        {"r.conll": "a N x\nb N y\n\nc N x"},
    ),
    Case(
        "for example --text input --label output",
        {"r.jsonl": PROMPTS},
        {},
        more={"text": "input", "label": "output"},
        rows=5,
    ),
    Case(
        "for example --text part_text --label kind",
        {"r.csv": f"part_id,essay_id,part_text,kind\n{ESSAYS}"},
        {},
        more={"text": "part_text", "label": "kind"},
        rows=8,
    ),
    *(
        Case(
            "write a row for each of them, as columns words and tags of lists",
            {"r.jsonl": json.dumps({"sentences": SENTENCES[0], "ner": SENTENCES[1]})},
            {"r.jsonl": JSONL_OF_WORDS},
            options=options,
            more={"text": None, "label": None},
            rows=1,
        )
        for options in ({}, {"text": "sentences"}, {"text": "sentences", "label": "ner"})
    ),
    Case(
        "Remove the lines that begin with ###: grep -v '^###' FILE > OUT.txt. Then: Give --delimiter tab",
        {"train.txt": RCT},
        {"train.txt": RCT.partition("\n")[2]},
        more={"delimiter": "\t", "header": ("label", "text")},
    ),
    *(
        Case(
            "Remove the comments: the lines that begin with '###'",
            {"train.txt": RCT},
            {"train.txt": RCT.partition("\n")[2]},
            options={"delimiter": "\t", "header": header},
            more={"header": ("label", "text")},
        )
        for header in (None, ("label", "text"))
    ),
    Case(
        "If the first word of each line is its label, write: logitcache reshape first-word",
        {"train_5500.label": "a warm film\nb good cold film\n", "TREC_10.label": "a film\n"},
        {"train.txt": "__label__a warm film\n__label__b good cold film\n"},
    ),
    Case(
        "Write the text and the cats of each document as jsonl, with spaCy: ",
        {"train.spacy": b"x\x9c"},
        {
            "train.jsonl": '{"text": "a", "cats": {"x": 1, "y": 0}}\n{"text": "b", "cats": {"x": 0, "y": 1}}\n'
        },
    ),
    Case(
        "If it holds an object of JSON a line, name it output.manifest.jsonl.",
        {"output.manifest": '{"text": "a", "label": 0}\n{"text": "b", "label": 1}\n'},
        {"output.manifest.jsonl": '{"text": "a", "label": 0}\n{"text": "b", "label": 1}\n'},
    ),
    Case(
        "give the texts that they were made of.",
        {"r.txt": "+1 3:1 11:0.5\n-1 2:1\n"},
        {"r.txt": None, "r.csv": GOOD},
    ),
    Case(
        "Files .ann (of brat) label parts of a text. Labels of parts of a text are learnt by token-classification",
        {"1.txt": "a b", "1.ann": "T1\tX 0 1\ta\n"},
        {"1.txt": None, "1.ann": None, "train.jsonl": JSONL_OF_WORDS},
        rows=1,
    ),
    Case(
        "name the files .conll",
        {"r.txt": "London\tplace\nis\tO\n\nbig\tO\n"},
        {"r.txt": None, "r.conll": "London\tplace\nis\tO\n\nbig\tO\n"},
    ),
    Case(
        "Name the column of the words, for example --text c2.",
        {"r.tsv": WITHOUT_COMMENTS},
        {},
        options={"header": ("word", "c2", "tag", "c4")},
        more={"text": "c2"},
    ),
    Case(
        "or name the file .conll if it has no header line and the label is last.",
        {"r.tsv": MARKED},
        {"r.tsv": None, "r.conll": MARKED},
        options={"header": ("word", "tag")},
        more={"header": None},
    ),
    Case(
        "leaves no doubt. If each line is a word and its label, name the file .conll.",
        {"r.tsv": MARKS},
        {"r.tsv": None, "r.conll": MARKS},
    ),
    Case("for example --header word,tag", {"r.tsv": OF_TAGS}, {}, more={"header": ("word", "tag")}),
    csv(
        "If the first line is a row, name the columns with --header, for example --header text,label",
        CLASSES * 2,
        CLASSES,
        more={"header": ("text", "label")},
    ),
    Case(
        "and each other line is a word and its label, name the file .conll;",
        {"r.tsv": "## s0\tthe text\na\tO\nfilm\tB-X\n\n## s1\tof it\na\tO\nis\tO\n"},
        {
            "r.tsv": None,
            "r.conll": "## s0\tthe text\na\tO\nfilm\tB-X\n\n## s1\tof it\na\tO\nis\tO\n",
        },
    ),
    Case(
        "for example --header label,c2,text.",
        {f"{split}.csv": NUMBERED.format(split) for split in ("test", "train")},
        {},
        more={"header": ("label", "c2", "text")},
        rows=4,
    ),
    csv(
        "for example --header c1,label,text,c4",
        "1,x,a warm film,1\n2,y,a dull film,1\n3,y,a cold film,1\n",
        "1,x,a warm film,1\n2,y,a dull film,1\n",
        more={"header": ("c1", "label", "text", "c4")},
    ),
    Case(
        "--text sentence_A --text-pair sentence_B",
        {"r.jsonl": PAIRED + PAIRED.replace("some", "no")},
        {},
        more={"text": "sentence_A", "text_pair": "sentence_B"},
    ),
    Case(
        "--text pair.premise --text-pair pair.hypothesis",
        {"r.jsonl": NESTED_PAIR + NESTED_PAIR.replace("more", "less")},
        {},
        more={"text": "pair.premise", "text_pair": "pair.hypothesis"},
    ),
    Case(
        "or as columns words and tags of lists",
        {"r.jsonl": '{"text": "a b", "label": {"X": [[0, 1]]}}\n'},
        {"r.jsonl": JSONL_OF_WORDS},
        rows=1,
    ),
    Case(
        "Correct the row; or save the words too, as a column words of lists.",
        {"r.jsonl": '{"text": "a film", "tags": ["O", "B-X", "O"]}\n'},
        {"r.jsonl": '{"words": ["a", "film", "."], "tags": ["O", "B-X", "O"]}\n'},
        rows=1,
    ),
    *(
        Case(
            "Correct the line: its word is the first field, its label the last",
            {"r.conll": f"a NN O\n{line}\n"},
            {"r.conll": "a NN O\nfilm NN B-X\n"},
            rows=1,
        )
        for line in ("film NN", "old film NN B-X", "film\tNN\t")
    ),
    Case(
        "To take each message by itself, name the columns: --text text, and --label for classes.",
        {"r.jsonl": OF_TURNS},
        more={"text": "text", "label": "role"},
    ),
    Case(
        "Give --task token-classification",
        {"r.jsonl": '{"words": ["a", "film"], "tags": ["O", "B-X"]}\n'},
        options={"task": "classification"},
        more={"task": "token-classification"},
        rows=1,
    ),
    csv(
        "expected names of splits",
        "text,label,set\na,x,b\nb,y,c\n",
        "text,label,set\na,x,train\nb,y,test\n",
        options={"split_column": "set"},
    ),
    Case(
        "Leave --split-column out, or give one file.",
        {
            f"{split}.csv": f"text,label,set\na,x,{split}\nb,y,{split}\n"
            for split in ("train", "test")
        },
        {},
        options={"split_column": "set"},
        more={"split_column": None},
    ),
    Case(
        "Save a row for each choice, with the question as text",
        {"r.jsonl": "".join(json.dumps(row) + "\n" for row in OF_CHOICES)},
        {"r.jsonl": '{"text": "q", "text_pair": "a", "label": 1}\n'},
        rows=1,
    ),
    Case(
        "Name another column with --label. As a teacher, split them",
        {"r.csv": "text,votes,kind\na,1|1|0,x\nb,0|0|1,y\n"},
        options={"label": "votes"},
        more={"label": "kind"},
    ),
    Case(
        "Add such a column, or put empty lines between the sentences",
        {"r.csv": "token,ner\nAda,B-PER\nmet,O\nAlan,B-PER\n"},
        {"r.csv": "token,ner\nAda,B-PER\nmet,O\n\nAlan,B-PER\n"},
    ),
]
