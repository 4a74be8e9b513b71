"""The classes of a column whose names somebody gave: which one each value is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from logitcache.data.label_values import Columns, first_place
from logitcache.data.names import (
    BOOLEANS,
    ClassNames,
    folded,
    folds,
    integer,
    is_number,
    labels_option,
    listed,
    numbers_from_one,
)
from logitcache.data.values import are_all
from logitcache.errors import SpecError
from logitcache.reporter import Reporter


def given_names(present: Sequence[Any], names: Sequence[str]) -> dict[tuple[type, Any], str | None]:
    """The name that each value is, letter for letter or as a number; None for a value that is none
    of them.
    """
    names_of_classes = set(names)
    numbers = {float(name.replace(",", ".")): name for name in names if is_number(name)}
    by_value: dict[tuple[type, Any], str | None] = {}
    for value in present:
        if isinstance(value, str):
            by_value[str, value] = value if value in names_of_classes else None
        else:
            by_value[type(value), value] = None if isinstance(value, bool) else numbers.get(value)
    return by_value


def given_classes(
    present: Sequence[Any],
    class_names: ClassNames,
    columns: Columns,
    column: str | None,
    reporter: Reporter,
) -> dict[Any, int]:
    """The class number of each value: texts by name, in any spelling that one name alone has;
    numbers by the numbers that were given, else by name where names are numbers, else as places in
    the list, from 0.

    Raises SpecError naming the first row whose value is none of the classes.
    """
    if are_all(present, str):
        return _by_name(
            {value: value for value in present}, class_names.names, columns, column, reporter
        )
    if are_all(present, bool):
        return _of_booleans(present, class_names.names, columns)
    if class_names.numbers is not None:
        return _by_number(present, class_names.numbers, columns)
    if any(integer(name) is not None for name in class_names.names):
        return _by_name(
            {value: str(value) for value in present}, class_names.names, columns, column, reporter
        )
    return _by_place(present, class_names.names, columns, column, reporter)


def _by_name(
    texts: Mapping[Any, str],
    names: tuple[str, ...],
    columns: Columns,
    column: str | None,
    reporter: Reporter,
) -> dict[Any, int]:
    number = {name: index for index, name in enumerate(names)}
    forms = folds(names)
    classes: dict[Any, int] = {}
    spelled: list[tuple[str, str]] = []
    for value, text in texts.items():
        name = text if text in number else forms.get(folded(text))
        if name is None:
            raise SpecError(
                expected=f"a label among {listed(names)}",
                found=repr(value),
                advice="Correct the row, or the names in --labels or labels.json.",
                where=first_place(columns, value),
            )
        classes[value] = number[name]
        if name != text:
            spelled.append((text, name))
    if spelled:
        text, name = spelled[0]
        remark = f", and {len(spelled) - 1:,} more in the same way" if len(spelled) > 1 else ""
        reporter.note(f"column {column!r}: {text!r} is taken for the class {name!r}{remark}")
    return classes


def _by_number(
    present: Sequence[int], numbers: tuple[int, ...], columns: Columns
) -> dict[Any, int]:
    index = {number: i for i, number in enumerate(numbers)}
    unnumbered = next((value for value in present if value not in index), None)
    if unnumbered is not None:
        raise SpecError(
            expected=f"a label among {listed(list(map(str, numbers)))}",
            found=unnumbered,
            advice="Correct the row, leave the field empty where there is no label, or give the number a name.",
            where=first_place(columns, unnumbered),
        )
    return {value: index[value] for value in present}


def _by_place(
    present: Sequence[int],
    names: tuple[str, ...],
    columns: Columns,
    column: str | None,
    reporter: Reporter,
) -> dict[Any, int]:
    if numbers_from_one(present, len(names)):
        reporter.note(
            f"column {column!r}: its numbers begin at 1, and there are as many as names: 1 is the "
            f"class {names[0]!r}, {len(names)} the class {names[-1]!r}"
        )
        return {value: value - 1 for value in present}
    outside = next((value for value in present if not 0 <= value < len(names)), None)
    if outside is not None:
        raise out_of_range(outside, names, first_place(columns, outside))
    first = min(present)
    if first > 0:
        example = ", ".join(f'"{first + i}": "{name}"' for i, name in enumerate(names[:2]))
        raise SpecError(
            f"column {column!r}: the numbers begin at {first}, so it is not clear which one {names[0]!r} is. Say it "
            f"in a labels.json beside the data, such as {{{example}, ...}}, which gives each number its name.",
            where=first_place(columns, first),
        )
    return {value: value for value in present}


def _of_booleans(
    present: Sequence[bool], names: tuple[str, ...], columns: Columns
) -> dict[Any, int]:
    forms = folds(names)
    if set(BOOLEANS) <= set(forms):
        return {value: names.index(forms[BOOLEANS[value]]) for value in present}
    if len(names) != 2:
        value = present[0]
        raise SpecError(
            expected=f"a label among {listed(names)}",
            found=BOOLEANS[value],
            advice=f"Give two names, false and then true, such as {labels_option(BOOLEANS)}",
            where=first_place(columns, value),
        )
    return {value: int(value) for value in present}


def out_of_range(value: Any, names: tuple[str, ...], where: str) -> SpecError:
    return SpecError(
        f"expected a label from 0 to {len(names) - 1}, the number of one of {listed(names)}, found {value}. Correct "
        "the row, leave the field empty where there is no label, or name all classes in label order with --labels.",
        where=where,
    )
