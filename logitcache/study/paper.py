"""The figures of Kobyzev et al. (EACL 2023), for tables that stand beside them: percent, mean ± std.

Read from a scan. A ``?`` stands for a digit that cannot be read for certain; every mean was checked
against the printed Score, which is the mean of the seven tasks. Anomalies of the paper are left as
they are printed: the Scores of Table 1 (teacher, dev), Table 2 (teacher, dev), Table 3 (Finetune,
Self-KD and KD, dev) and Table 7 (LS, test) are not the means of their columns.
"""

from __future__ import annotations

from collections.abc import Mapping

GLUE = ("cola", "rte", "mrpc", "sst2", "qnli", "mnli", "qqp")
SCORE = "score"
TITLES = {
    "cola": "CoLA",
    "rte": "RTE",
    "mrpc": "MRPC",
    "sst2": "SST-2",
    "qnli": "QNLI",
    "mnli": "MNLI",
    "qqp": "QQP",
    "sst5": "SST-5",
    "fewrel64": "FewRel-64",
}
TEACHER = "teacher"

_GLUE_TABLES = """
table1 dev teacher 68.14 81.23 91.62 96.44 94.60 90.23 91.00 87.67
table1 dev base 60.53±0.70 68.66±1.28 90.58±0.60 92.43±0.16 90.78±0.12 84.04±0.25 91.44±0.03 82.64±0.?1
table1 dev ls 60.46±0.74 69.24±0.90? 90.87±0.42 92.75±0.41 90.71±0.0? 83.99±0.13 91.41±0.07 82.78±0.?5
table1 dev tf-reg 60.74±0.98? 68.81±0.98? 90.78±0.77 92.68±0.15 91.13±0.43 83.86±0.17 91.45±0.10 82.78±0.29
table1 dev self-kd 60.48±0.50 69.24±1.20 90.97±0.46 92.43±0.20 90.91±0.27 84.00±0.19 91.62±0.0? 82.81±0.19
table1 dev kd 62.13±0.67 68.66±1.24 90.83±0.31 92.73±0.3? 91.23±0.20 84.34±0.22 91.68±0.08 83.08±0.?4
table1 test teacher 65.1 82.6 89.5 92.1 91.5 84.3 88.7 84.82
table1 test base 51.62±0.96 62.70±0.41 88.12±0.35 93.22±0.46 90.66±0.15 83.52±0.26 88.92±0.19 79.82±0.?8
table1 test ls 49.46±3.84 62.52±0.38 87.94±0.51 93.42±0.33 90.26±0.43 83.34±0.32 89.04±0.08 79.43±0.62?
table1 test tf-reg 49.16±3.50 62.92±0.32 87.44±0.14 93.26±0.28 90.28±0.21 83.36±0.36 89.04±0.08 79.35±0.70?
table1 test self-kd 51.56±1.04 62.88±0.82 87.92±0.43 93.10±0.11 90.58±0.27 83.46±0.20 89.12±0.10 79.80±0.20
table1 test kd 50.28±3.07 63.04±0.43? 88.80±0.54 93.44±0.48 90.74±0.26 83.64±0.21 89.42±0.04 79.91±0.54
table2 dev teacher 65.80 71.48 89.38 92.77 92.82 86.3 91.45 82.19?
table2 dev base 41.76±1.00 65.13±1.22 87.09±0.62 88.83±0.27 86.96±0.11 78.46±0.1? 90.02±0.08 76.89±0.25
table2 dev ls 41.97±1.63 65.85±1.16 87.41±0.55 88.56±0.2? 86.90±0.16 78.51±0.14 90.04±0.03 77.03±0.24
table2 dev tf-reg 42.13±0.14? 64.98±1.57 87.19±0.43 88.58±0.31 86.96±0.13 78.54±0.1? 90.02±0.04 76.91±0.?5
table2 dev self-kd 41.52±1.7? 65.63±1.5? 86.73±0.25 88.72±0.28 86.74±0.58 78.63±0.20 90.08±0.0? 76.86±0.39
table2 dev kd 42.48±1.34 65.42±0.95? 88.56±0.40 88.60±0.60 87.31±0.22 78.73±0.19 90.23±0.08 77.33±0.15
table2 test teacher 63.8 69.2 85.1 89.7 89.2 83.2 86.2 80.91
table2 test base 38.58±0.87 62.74±0.31 83.12±0.42 89.56±0.65 86.62±0.65 78.26±0.27 87.80±0.17 75.24±0.20
table2 test ls 40.08±0.58 62.84±0.22 83.24±0.56 89.88±0.50 86.60±0.79 78.48±0.26 87.78±0.15 75.56±0.14
table2 test tf-reg 38.92±1.25 60.70±3.03 82.92±0.? 89.82±0.42 86.22±0.70 78.16±0.? 87.78±0.12 74.93±0.63
table2 test self-kd 38.92±2.44 61.32±1.26 83.12±0.64 89.82±0.43 86.60±0.30 78.22±0.53? 87.76±0.05 75.11±0.44?
table2 test kd 38.26±2.20 62.32±1.04 84.74±0.65 89.96±0.22 86.58±0.27 78.34±0.20 88.02±0.12 75.46±0.51
table3 dev teacher 43.2 66.8 87.6 92.2 88.6 82.3 89.5 78.6
table3 dev base 38.20±1.23 64.92±? 87.74±0.3? 91.54±0.3? 86.48±0.52 79.93±0.08 89.70±0.06 77.13?±0.34
table3 dev ls 38.24±1.25 64.84±0.65? 87.50±0.28 91.54±0.25 86.56±0.36 80.14±0.14 89.67±0.10 76.93±0.27
table3 dev tf-reg 38.04±1.23 64.90±0.62 87.58±0.26 91.34±0.14 86.72±0.34 80.14±0.22 89.64±0.05? 76.91±0.27
table3 dev self-kd 39.41±? 65.62±1.61 87.24±0.21 90.84±0.31 87.04±0.17 80.57±0.16 89.83±0.04 77.16±0.33
table3 dev kd 38.94±1.10 66.80±0.82 87.22±0.74 90.86±0.3? 86.82±0.32 80.30±0.17 89.97±0.24 77.34±0.30
table3 test teacher 46.7 65.0 86.4 88.3 88.5 81.8 87.9 77.8
table3 test base 31.00±1.32 60.52±0.66 84.52±0.56 90.22±1.08 85.34±0.30 79.84±0.22 87.68±0.12 74.16±0.28
table3 test ls 31.30±2.00 60.18±0.63 84.68±0.41 91.18±0.41 85.28±0.30 79.78±0.10 87.76±0.14 74.31±0.25
table3 test tf-reg 31.74±2.06 60.22±0.40 84.50±0.46 90.62±0.56 85.38±0.32 79.68±0.28 87.24±0.50 74.20±0.40
table3 test self-kd 35.28±1.55 61.02±1.23 83.72±0.50 90.30±0.54 86.14±0.33 80.12±0.15 87.86±0.16 74.92±0.?8
table3 test kd 32.96±2.84 60.40±0.20 84.76±0.56 90.38±0.53 85.82±0.15 80.10±0.14 88.08±0.14 74.64±0.43
table7 dev teacher 68.14 81.23 91.62 96.44 94.60 90.23 91.00 87.67
table7 dev base 13.3±0.? 53.0±0.4 81.4±0.3 81.2±0.5 60.8±0.6 62.1±1.1 80.8±0.2 61.87±0.2?
table7 dev ls 14.0±0.? 53.8±1.0 82.1±0.7 81.7±0.5 61.5±0.6 62.8±0.8 81.1±0.5 62.45±0.45
table7 dev tf-reg 14.4±1.2 53.0±0.5 82.3±0.4 81.8±0.4 61.5±1.3 62.7±1.1 80.6±0.2 62.35±0.25?
table7 dev self-kd 14.3±0.5 53.0±0.4 82.3±0.5 81.4±0.1 61.3±0.4 63.5±1.2 80.7±0.1 62.39±0.28
table7 dev kd 16.6±0.7 53.6±0.? 81.8±0.4 81.2±0.5 61.4±0.4 63.1±0.3 81.6±0.1 62.80±0.45
table7 test teacher 65.1 82.6 89.5 92.1 91.5 84.3 88.7 84.82
table7 test base 9.8±0.1? 51.6±1.3 79.6±0.3 80.3±0.? 60.7±0.5 61.4±0.3 80.8±0.2 60.60±0.21
table7 test ls 10.5±0.2 53.0?±0.? 80.0±0.4 80.9±0.4 60.7±0.7 61.7±0.1 81.1±0.7 60.72±0.07?
table7 test tf-reg 11.8±1.1 51.8±1.5 79.2±1.5 81.2±0.3 60.9±0.4 61.7±0.1 81.2±0.4 61.08±0.2?
table7 test self-kd 11.5±0.3 51.0±0.7 79.5±1.2 80.6±0.1 61.9±0.4 62.3±0.2 81.3±0.1? 61.13±0.31
table7 test kd 12.8±2.8 51.5±1.1 79.3±0.6 82.1±0.4 61.2±0.2 62.6±0.? 81.4±0.4 61.54±0.60
"""
_OTHER_TABLES = """
table4 dev sst5 teacher 56.86
table4 dev sst5 base 53.40±0.88?
table4 dev sst5 ls 53.50±0.?8
table4 dev sst5 tf-reg 53.62±0.90
table4 dev sst5 kd 53.59±0.26?
table4 test sst5 teacher 59.95
table4 test sst5 base 54.43±0.86?
table4 test sst5 ls 53.96±0.77
table4 test sst5 tf-reg 53.93±0.?4
table4 test sst5 kd 54.14±?
table5 dev fewrel64 teacher 88.93±0.27
table5 dev fewrel64 base 86.31±0.32
table5 dev fewrel64 ls 86.35±0.31
table5 dev fewrel64 tf-reg 86.35±0.31
table5 dev fewrel64 kd 86.66±0.36
table5 test fewrel64 teacher 88.63±0.45
table5 test fewrel64 base 86.28±0.51?
table5 test fewrel64 ls 86.22±0.47
table5 test fewrel64 tf-reg 86.26±0.47
table5 test fewrel64 kd 86.41±0.54
table9 test sst5 base 38.65±1.01
table9 test sst5 tf-reg 40.02±0.73
table9 test sst5 kd 41.18±0.95
"""
# p of Wilcoxon's test over 8 test runs of SST-5 (Table 8): pre-trained and randomly initialised.
TABLE_8 = {"tf-reg": (0.46, 0.01), "kd": (0.94, 0.01)}

_Key = tuple[str, str, str, str]  # table, split, method, task


def _read() -> dict[_Key, str]:
    figures = {}
    for line in _GLUE_TABLES.split("\n"):
        if line:
            table, split, method, *cells = line.split()
            for task, cell in zip((*GLUE, SCORE), cells, strict=True):
                figures[table, split, method, task] = cell
    for line in _OTHER_TABLES.split("\n"):
        if line:
            table, split, task, method, cell = line.split()
            figures[table, split, method, task] = cell
    return figures


FIGURES: Mapping[_Key, str] = _read()


def task_key(name: str) -> str:
    """The paper's key of a task or data set: ``sst2`` of ``glue/sst-2``."""
    return name.rpartition("/")[2].lower().replace("-", "").replace("_", "")


def task_title(name: str) -> str:
    """A task as tables name it."""
    return TITLES.get(task_key(name), name)


def table_of(study: str) -> str | None:
    """The paper's table that a built-in study is made after."""
    table = study.rpartition("-")[2]
    return table if study.startswith("kobyzev-") else None


def with_weights(table: str | None, init: str | None) -> str | None:
    """The table that holds the accuracies behind one: Table 8 has p alone, of the runs of Table 4
    and, with fresh weights, of Table 9.
    """
    if table != "table8":
        return table
    return "table9" if init == "random" else "table4"


def p_value(table: str | None, method: str, init: str | None) -> float | None:
    """The p of Wilcoxon's test of a method against base as Table 8 prints it; else None."""
    if table != "table8" or method not in TABLE_8:
        return None
    return TABLE_8[method][init == "random"]


def figure(table: str | None, split: str, method: str, task: str) -> str | None:
    """A figure as printed, ``62.13 ± 0.67``; None where the paper has none."""
    if table is None:
        return None
    printed = FIGURES.get((table, split, method, task_key(task)))
    return None if printed is None else printed.replace("±", " ± ")
