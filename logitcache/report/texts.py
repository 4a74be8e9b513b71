"""Sections as Markdown and as LaTeX, and a table as CSV. Pictures are left to the HTML page."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from io import StringIO

from logitcache.report.blocks import Block, Section, Table

_HELD = "\N{NO-BREAK SPACE}"
# What LaTeX reads as its own, and characters that its fonts lack.
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    # at the start of a row they would belong to the line end of the row before
    "[": "{[}",
    "*": "{*}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "÷": r"$\div$",
    "α": r"$\alpha$",
    "τ": r"$\tau$",
    "δ": r"$\delta$",
    "µ": r"$\mu$",
    "–": "--",
    "−": "$-$",
    "…": r"\ldots{}",
    _HELD: "~",
}


def markdown(name: str, sections: Sequence[Section]) -> str:
    """The sections as Markdown, with tables as GitHub reads them."""
    lines = [f"# {_cell(name)}"]
    for section in sections:
        lines += ["", f"## {_cell(section.title)}"]
        if section.headline:
            lines += ["", _cell(section.headline)]
        for note in section.notes:
            lines += ["", f"> {_cell(note)}"]
        for block in section.blocks:
            lines += ["", f"### {_cell(block.title)}", "", _cell(block.caption)]
            if block.table is not None:
                lines += ["", *_markdown_table(block.table)]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    """A text on one line that Markdown does not take for markup."""
    line = " ".join(text.replace(_HELD, " ").split())
    return "".join(f"\\{c}" if c in "|<>*_`[]\\" else c for c in line)


def _markdown_table(table: Table) -> Iterator[str]:
    yield f"| {' | '.join(map(_cell, table.header))} |"
    yield f"|---|{'---:|' * (len(table.header) - 1)}"
    for row in table.rows:
        yield f"| {' | '.join(map(_cell, row))} |"


def latex(name: str, sections: Sequence[Section]) -> str:
    r"""The tables as LaTeX for `\input`, with booktabs: one `table` for each."""
    lines = [f"% {_escaped(name)}. Needs \\usepackage{{booktabs}}."]
    for section in sections:
        for block in section.blocks:
            if block.table is not None:
                lines += ["", *_latex_table(block, block.table)]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    line = " ".join(text.replace(_HELD, "~").split())
    return "".join(_LATEX.get(character, character) for character in line.replace("~", _HELD))


def _latex_table(block: Block, table: Table) -> Iterator[str]:
    yield r"\begin{table}"
    yield r"\centering"
    yield rf"\caption{{{_escaped(block.title)}. {_escaped(block.caption)}}}"
    yield rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}"
    yield r"\toprule"
    yield rf"{' & '.join(map(_escaped, table.header))} \\"
    yield r"\midrule"
    for row in table.rows:
        yield rf"{' & '.join(map(_escaped, row))} \\"
    yield r"\bottomrule"
    yield r"\end{tabular}"
    yield r"\end{table}"


def csv_text(table: Table) -> str:
    """A table as CSV, its header first."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(table.header)
    writer.writerows(table.rows)
    return out.getvalue()
