"""Exports of WebAnno and INCEpTION in their TSV 3, which are not read: how to write their words and tags.

A line holds a word's id, its offsets, the word and the columns that the header declares: a line
``#T_SP=`` (spans), ``#T_CH=`` (chains) or ``#T_RL=`` (relations) names a layer and its features, a
column for each. A value ends in [n] where words share one label or a word has several, which | then
divides; _ is no label, * a label without a value (INCEpTION user guide, "WebAnno TSV 3.x").
"""

from __future__ import annotations

from collections.abc import Iterable

from logitcache.data.names import listed
from logitcache.data.sources.advice import File, reshape

MAGIC = b"#FORMAT=WebAnno TSV"
_LAYERS = ("#T_SP=", "#T_CH=", "#T_RL=")
_FIRST_COLUMN = 4  # 1-based; id, offsets and word stand before it
_SLOT = "ROLE_"  # a feature that links to other labels; the kind of these is the next column


def label_columns(header: Iterable[str]) -> dict[int, str]:
    """The columns (1-based) that may hold labels, with the layer and the feature of each: those of
    features called value of layers of spans, else all features of these.
    """
    number = _FIRST_COLUMN
    columns: dict[int, str] = {}
    for line in header:
        if not line.startswith(_LAYERS):
            continue
        layer, *features = line.rstrip("\r\n").partition("=")[2].split("|")
        is_linked = False
        for feature in features or [""]:
            is_label = line.startswith("#T_SP=") and feature and not is_linked
            is_linked = feature.startswith(_SLOT)
            if is_label and not is_linked:
                columns[number] = f"{layer.rpartition('.')[2]}.{feature}"
            number += 1
    values = {number: name for number, name in columns.items() if name.endswith(".value")}
    return values or columns


def conll_advice(header: Iterable[str], path: File) -> str:
    """What to do about an export whose first lines, which begin with #, are ``header``."""
    columns = label_columns(header)
    if not columns:
        return "It declares no labels of spans: export it again with the layer that is meant."
    if len(columns) == 1:
        command = reshape("webanno", [path], [str(next(iter(columns)))])
        return f"Write its words and their labels: {command}."
    names = [f"{number} ({name})" for number, name in columns.items()]
    command = reshape("webanno", [path], ["COLUMN"])
    return (
        f"Its columns {listed(names, len(names))} may hold the labels: export the layer that is meant alone, "
        f"or put the number of its column for COLUMN: {command}."
    )
