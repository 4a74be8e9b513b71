"""Errors over files and folders of data: what cannot be read as it lies, and what may be done."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from xml.etree import ElementTree

from logitcache.data.names import listed
from logitcache.data.sources.advice import (
    OF_BRAT,
    by_first_word,
    fields_advice,
    reshape,
    rows_under_keys,
)
from logitcache.data.sources.content import AS_ROWS, PACKINGS
from logitcache.data.sources.corpora import corpus_advice
from logitcache.data.sources.endings import ending
from logitcache.data.sources.field_errors import LOOKED_AHEAD
from logitcache.data.sources.joins import join_advice
from logitcache.data.sources.parallel import (
    check_no_challenge,
    is_of_labels,
    lines_advice,
    slots_advice,
    texts_and_labels_advice,
)
from logitcache.data.sources.parted import usersays_advice
from logitcache.data.sources.plain import PREFIX, holds_labels, line_advice
from logitcache.data.sources.reading import READERS
from logitcache.errors import SpecError

SHEETS = (".xlsx", ".xls", ".ods")
OF_WORDS = (".train", ".testa", ".testb")  # how CoNLL files are often called
_SQLITE = (".db", ".sqlite", ".sqlite3")
_BY_PANDAS = {  # what reads a file, {0} being its name
    **dict.fromkeys((".pkl", ".pickle"), "pandas.DataFrame(pandas.read_pickle({0}))"),
    **dict.fromkeys(_SQLITE, "pandas.read_sql('select * from {1}', sqlite3.connect({0}))"),
    **dict.fromkeys((".npz", ".npy"), "pandas.DataFrame(dict(numpy.load({0})))"),
    ".xml": "pandas.read_xml({0}, parser='etree')",
    ".html": "pandas.read_html({0})[0]",
    ".orc": "pandas.read_orc({0})",
    **dict.fromkeys(SHEETS, "pandas.read_excel({0}, dtype=str, keep_default_na=False)"),
    ".dta": "pandas.read_stata({0})",
    ".sav": "pandas.read_spss({0})",
    **dict.fromkeys((".h5", ".hdf5"), "pandas.read_hdf({0})"),
    **dict.fromkeys((".yaml", ".yml"), "pandas.DataFrame(yaml.safe_load(open({0})))"),
}
_MODULES = ("numpy", "sqlite3", "yaml")
_OF_RASA = re.compile(r"(?m)^nlu:\s*$")
_LOGS = {"_delta_log": "Delta", ".hoodie": "Hudi", "metadata": "Iceberg"}


def unreadable(path: Path) -> SpecError:
    """The error over a file whose ending no reader has."""
    suffix = path.suffix.lower()
    name_end = "".join(path.suffixes[-2:]) if suffix in PACKINGS else path.suffix
    advice = (
        corpus_advice(path)
        or by_ending(path)
        or f"Give it the ending of what it is, or save its rows {AS_ROWS}."
    )
    expected = f"a file ending in {', '.join(READERS)}, packed or not"
    return SpecError(expected=expected, found=repr(name_end), advice=advice, where=path)


def check_links(paths: Sequence[Path]) -> None:
    """Raises SpecError for a link to a data file that was not copied or fetched."""
    for path in paths:
        if path.is_symlink() and not path.exists() and ending(path) in READERS:
            advice = "Copy the folder with what its links lead to (cp -rL), or fetch it (git annex get, dvc pull)."
            found = f"a link to {path.readlink()}, which is not there"
            raise SpecError(expected="a file", found=found, advice=advice, where=path)


def by_ending(path: Path) -> str:
    """What may be done with a file whose ending no reader has; empty where that says nothing."""
    suffix = path.suffix.lower()
    advice = ""
    if suffix in SHEETS:
        advice = f"Save it as CSV (UTF-8) in the spreadsheet program. {_conversion(path)}"
    elif suffix == ".rds":
        out = path.stem + ".csv"
        advice = f'Convert it: Rscript -e "write.csv(readRDS({str(path)!r}), {out!r}, row.names = FALSE)".'
    elif suffix in (".mdb", ".accdb"):
        advice = (
            f"Convert it: mdb-export {shlex.quote(str(path))} TABLE > {shlex.quote(path.stem)}.csv."
        )
    elif suffix in OF_WORDS:
        advice = f"If it is a CoNLL file (a word and its label a line), name it {path.name}.conll."
    elif suffix == ".label":
        advice = f"{by_first_word(path)}."
    elif suffix == ".spacy":
        advice = (
            "Write the text and the cats of each document as jsonl, with spaCy: "
            f"DocBin().from_disk({path.name!r}).get_docs(spacy.blank('en').vocab)."
        )
    elif suffix == ".tab" and _is_of_orange(path):
        advice = f"Convert it: {reshape('orange', [path])}."
    elif suffix in (".yml", ".yaml") and _is_of_rasa(path):
        advice = f"Write the examples of its intents: {reshape('rasa', [path])}."
    elif suffix == ".arff":
        advice = f"Convert it: {reshape('arff', [path])}."
    elif suffix == ".sql":
        advice = (
            "If SQLite wrote it, with pandas: c = sqlite3.connect(':memory:'); "
            "c.executescript(open(FILE).read()); "
            "read_sql('select * from TABLE', c).to_parquet(OUT)."
        )
    elif suffix in _BY_PANDAS:
        advice = (_of_nested_elements(path) if suffix == ".xml" else "") or _conversion(path)
    elif suffix in (*PACKINGS, ".zip", ".tgz", ".tar"):
        advice = "Unpack it, and give the file or the folder."
    else:
        advice = _of_objects(path) or _of_tabs(path)
    return advice


def _is_of_orange(path: Path) -> bool:
    """Whether the third line of a table says which columns are the class and meta, as Orange does."""
    with path.open(encoding="utf-8", errors="replace") as file:
        third = next(islice(file, 2, None), "")
    roles = set(third.strip("\r\n").split("\t"))
    return bool(roles & {"class", "meta"}) and roles <= {
        "",
        "class",
        "meta",
        "ignore",
        "i",
        "c",
        "m",
    }


def _is_of_rasa(path: Path) -> bool:
    text = path.read_text(encoding="utf-8", errors="replace")
    return _OF_RASA.search(text) is not None


def _conversion(path: Path) -> str:
    """The command by which pandas writes the rows of a file as jsonl."""
    suffix = path.suffix.lower()
    tables = _tables_of(path) if suffix in _SQLITE else []
    read = _BY_PANDAS[suffix].format(repr(str(path)), tables[0] if tables else "TABLE")
    modules = ", ".join(["pandas", *(name for name in _MODULES if f"{name}." in read)])
    others = f" (or of {listed(tables[1:])})" if tables[1:] else ""
    out = repr(path.stem + ".jsonl")
    command = f"import {modules}; {read}.to_json({out}, orient='records', lines=True)"
    return f'Convert it: python -c "{command}"{others}.'


def _of_nested_elements(path: Path) -> str:
    """How to write the elements nested in those that hold a text as rows, each with that text; empty
    where nothing is nested there, or the file is no XML.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError):
        return ""
    rows = [e for e in root.iter() if any(len(c) == 0 and (c.text or "").strip() for c in e)]
    nested = [below.tag for row in rows for child in row for below in child]
    if not nested:
        return ""
    command = reshape("nested-elements", [path], [rows[0].tag, nested[0]])
    return (
        f"Each {rows[0].tag} holds several {nested[0]}: write a row for each of these, with its text: "
        f"{command}."
    )


def _tables_of(path: Path) -> list[str]:
    """The tables of a database of SQLite; none of a file that is no such."""
    import sqlite3

    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            names = database.execute("select name from sqlite_master where type = 'table'")
            return [str(name) for (name,) in names if not name.startswith("sqlite_")]
    except sqlite3.Error:
        return []


def of_annotations(folder: Path, levels: int = 2) -> str:
    """What may be done with files that hold annotations beside texts, in a folder or in those below
    it; empty for others.
    """
    advice = _of_annotations(folder)
    if advice or not levels:
        return advice
    below = [
        path for path in sorted(folder.iterdir()) if path.is_dir() and path.name[0] not in "._"
    ]
    return next(filter(None, (of_annotations(path, levels - 1) for path in below)), "")


def _of_annotations(folder: Path) -> str:
    slots = slots_advice(folder)
    if slots:
        return slots
    if any(path.suffix == ".ann" for path in folder.iterdir()):
        return OF_BRAT
    return usersays_advice(folder)


def of_files(folder: Path, names: Sequence[str]) -> str:
    """What may be done with these files, none of which is read: by their lines, or by their one
    ending; empty where neither says anything.
    """
    is_alike = len({Path(name).suffix for name in names}) == 1
    return (
        lines_advice(folder, names)
        or _of_text_files(folder, names)
        or (corpus_advice(folder / names[0]) if is_alike else "")
        or (by_ending(folder / names[0]) if is_alike else "")
    )


def _of_text_files(folder: Path, names: Sequence[str]) -> str:
    """What to do with text files whose names tell no split, where their lines are rows with labels;
    empty elsewhere.
    """
    with (folder / names[0]).open(encoding="utf-8", errors="replace") as file:
        head = [line for line in islice(file, LOOKED_AHEAD) if line.strip()]
    if Path(names[0]).suffix.lower() != ".txt" or not holds_labels(folder / names[0], head):
        return ""
    own_advice = (
        ""
        if head[0].startswith(PREFIX)
        else f". Then: {line_advice(folder / names[0], head[0], head[1:])}"
    )
    return (
        f"Call them by their splits (train.txt, dev.txt, test.txt), or name one of them{own_advice}"
    )


def _of_objects(path: Path) -> str:
    """What to do with a file that begins with an object of JSON: rows a line, or rows under keys;
    empty for others.
    """
    try:
        with path.open(encoding="utf-8") as file:
            first = json.loads(file.readline())
            is_alone = not file.readline().strip()
    except (OSError, ValueError, RecursionError):
        return ""
    if not isinstance(first, dict):
        return ""
    if is_alone and first and all(isinstance(row, dict) for row in first.values()):
        return f"{rows_under_keys(path)}."
    return f"If it holds an object of JSON a line, name it {path.name}.jsonl."


def _of_tabs(path: Path) -> str:
    """What to do with a file of another ending whose first lines have equally many tabs; empty for
    others.
    """
    try:
        with path.open(encoding="utf-8") as file:
            lines = [line.rstrip("\r\n") for line in islice(file, LOOKED_AHEAD)]
    except (OSError, UnicodeError):
        return ""
    tabs = {line.count("\t") for line in lines if line}
    if len(tabs) != 1 or tabs == {0}:
        return ""
    header = fields_advice(lines).partition(". ")[2]
    return f"If tabs separate its fields, name it {path.name}.tsv. {header}".rstrip()


def label_files_advice(ignored: Sequence[Path], used: Iterable[Path]) -> str:
    """What to do with files that are left out, where one holds labels alone; empty for others."""
    labels = [path for path in ignored if is_of_labels(path.name)]
    if not labels:
        return ""
    joined = filter(None, (join_advice((file, path)) for path in labels for file in used))
    advice = (
        ". Labels in a file of their own: write them into a column beside their texts, called as the "
        "label column of the other files"
    )
    return ". ".join([advice, *islice(joined, 1)])


def check_layout(folder: Path) -> None:
    """Raises SpecError for a table whose log says which of its files count (the others hold rows that
    have been replaced), and for texts and labels in files of their own.
    """
    check_no_challenge(folder)
    for name, kind in _LOGS.items():
        log = folder / name
        is_log = log.is_dir() and (name != "metadata" or any(log.glob("*.metadata.json")))
        if is_log:
            raise SpecError(
                expected="a folder whose files all count",
                found=f"a table of {kind}, whose log {name} says which of them do",
                advice="Write its rows with the library it was made with, as one parquet file.",
                where=folder,
            )


def partitions(folders: Sequence[str]) -> str:
    """What may be done with folders called ``COLUMN=VALUE``, one for each value of a column; empty
    for others.
    """
    if not all("=" in name for name in folders):
        return ""
    return "They are parts by a column: write one file, with pandas: read_parquet(FOLDER).to_parquet(OUT)"


def two_files(folder: Path, doubled: Mapping[str, Sequence[str]]) -> SpecError:
    """The error over two files or more for one split, or for each of several (by split)."""
    advice = "Keep one; or, if they are parts of one table, put them into a folder {} of their own."
    advice = advice.format(" or ".join(map(repr, doubled)))
    of_labels = [list(map(is_of_labels, names)) for names in doubled.values()]
    if all(len(names) == 2 and sum(names) == 1 for names in of_labels):
        advice = "Write the texts and the labels as columns of one file, row by row; or keep one."
        if all(name.endswith(".txt") for names in doubled.values() for name in names):
            advice = texts_and_labels_advice(folder, doubled)
    joined = join_advice(folder / name for names in doubled.values() for name in names)
    advice = f"{joined}." if joined else advice
    found = [
        f"the split {split!r}: {listed(names[:-1])} and {names[-1]}"
        for split, names in doubled.items()
    ]
    count = "two" if all(len(names) == 2 for names in doubled.values()) else "several"
    return SpecError(f"{count} files for {'; for '.join(found)}", advice=advice, where=folder)
