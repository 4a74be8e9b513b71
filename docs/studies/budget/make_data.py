"""Data of the study of budgets: docstrings of the installed packages and two books, as JSONL.

    python make_data.py TEXT OUT

TEXT has warandpeace.txt and state_union.txt. Written are OUT/teacher, OUT/fresh and OUT/repeat, each with train.jsonl,
dev.jsonl and test.jsonl; dev and test are the same in all three and are of no document of a train.
"""

import json
import sys
from pathlib import Path

import numpy as np

from logitcache.config.data import Columns
from logitcache.data import source as sources
from logitcache.reporter import SILENT

CHARACTERS = {
    "teacher": (9_000_000, 4_500_000),
    "fresh": (2_100_000, 1_050_000),
    "repeat": (210_000, 105_000),
}
HELD_OUT = (120_000, 60_000)  # of docstrings and books, for each of dev and test
PIECE = 2_000  # characters of a book that are a document


def pieces(path):
    """A book cut between paragraphs into documents."""
    documents, lines = [], ""
    for paragraph in path.read_text(encoding="utf-8", errors="replace").split("\n\n"):
        lines += paragraph.strip() + "\n\n"
        if len(lines) >= PIECE:
            documents.append(lines.strip())
            lines = ""
    return documents


def first(documents, characters):
    """The first documents that have so many characters together."""
    ends = np.cumsum([len(text) for text in documents])
    return documents[: int(np.searchsorted(ends, characters)) + 1]


def main(text, out):
    corpus = sources.load("corpus", Columns(task="masked-lm"), out / "corpus", SILENT)
    docs = {}
    for split, rows in corpus.splits.items():
        column = rows.text.to_pylist()
        docs[split] = [column[i] for i in np.random.default_rng(2).permutation(len(column))]
    prose = pieces(text / "warandpeace.txt") + pieces(text / "state_union.txt")
    prose = [prose[i] for i in np.random.default_rng(0).permutation(len(prose))]
    held = {}
    for split in ("dev", "test"):
        part = first(prose, HELD_OUT[1])
        prose = prose[len(part) :]
        held[split] = first(docs[split], HELD_OUT[0]) + part
    for name, (of_docs, of_prose) in CHARACTERS.items():
        train = first(docs["train"], of_docs) + first(prose, of_prose)
        train = [train[i] for i in np.random.default_rng(1).permutation(len(train))]
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        for split, documents in {"train": train, **held}.items():
            lines = "".join(json.dumps({"text": document}) + "\n" for document in documents)
            (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8")
        print(name, len(train), "documents", sum(map(len, train)), "characters")


main(Path(sys.argv[1]), Path(sys.argv[2]))
