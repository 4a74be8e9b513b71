"""No family is answered wrongly: a model's answers are those by hand, or it is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

from tests.families import page, trial, zoo

pytestmark = pytest.mark.usefixtures("whole_probes")

ROOT = Path(__file__).resolve().parents[2]
SOME = ("t5",)  # the others are slow
# read boxes, markup, shapes of characters, tables
MORE_THAN_TEXT = ("layoutlmv3", "markuplm", "roc_bert", "tapas")
# of a probability over rows: a model that answers all rows alike would prove nothing
LEAST_SPREAD = 5e-3


def check(name: str, folder: Path) -> dict[str, str]:
    """The verdict of each trial, once each is seen to be right, or refused in a line that names the
    model.
    """
    results = trial.run(name, zoo.build(name, folder / "zoo"), folder / "trials")
    for outcome in (results[each][kind] for each in results for kind in ("single", "pair")):
        assert outcome["verdict"] in ("right", "refused"), (name, results)
        if outcome["verdict"] == "refused":
            assert outcome["message"].startswith(f"{name}: "), outcome
        assert outcome.get("spread", 1.0) > LEAST_SPREAD, (name, outcome)
    return {each: result["verdict"] for each, result in results.items()}


@pytest.mark.parametrize("name", SOME)
def test_answers_are_those_by_hand(name: str, tmp_path: Path) -> None:
    assert set(check(name, tmp_path).values()) == {"right"}


@pytest.mark.parametrize("name", MORE_THAN_TEXT)
def test_models_that_read_more_than_text_are_refused(name: str, tmp_path: Path) -> None:
    assert set(check(name, tmp_path).values()) == {"refused"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name for name in zoo.FAMILIES if name not in (*SOME, *MORE_THAN_TEXT)]
)
def test_every_family_is_right_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    check(name, tmp_path)


def test_every_registered_family_is_in_the_zoo_or_left_out_with_a_reason() -> None:
    assert {*zoo.FAMILIES, *zoo.LEFT_OUT} == set(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES)
    assert not set(zoo.FAMILIES) & set(zoo.LEFT_OUT)
    assert all(zoo.LEFT_OUT.values())


def test_the_page_is_that_of_the_committed_results() -> None:
    results = ROOT / "benchmarks" / "results" / "families.json"
    document = json.loads(results.read_text("utf-8"))
    assert (ROOT / "docs" / "families.md").read_text("utf-8") == page.page(document)


def test_the_committed_results_have_no_wrong_answer() -> None:
    document = json.loads((ROOT / "benchmarks" / "results" / "families.json").read_text("utf-8"))
    assert document["counts"] == page.counts(document["families"])
    assert set(document["families"]) == set(zoo.FAMILIES)
    assert len(document["families"]) >= 70
    for tally in document["counts"].values():
        assert tally["wrong"] == tally["traceback"] == 0
