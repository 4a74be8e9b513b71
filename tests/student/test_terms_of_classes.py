"""Terms of a classifier's signals, from a cache: trained, broken off and gone on with, and compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers

from logitcache.api import compare, dump, train
from logitcache.cache.cache import Cache
from tests.runs import Interrupt, result, same, stop_at

SIGNALS = ("logits", "attention-input:1", "attention-input:-1", "hidden:-1", "pooled")
METHOD = "kd=1,tinybert=0.1:variant=bui,minilm=1,embedding=1"


@pytest.fixture(scope="module")
def trained(
    checkpoint: Callable[..., Path],
    singles_data: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Path]:
    """``trained(out, method, **options)``: a student of half its teacher's width, so that two maps are
    learnt beside it; its folder.
    """
    folder = tmp_path_factory.mktemp("classes")
    teacher = str(checkpoint())
    report = dump(
        teacher, str(singles_data), signal=SIGNALS, device="cpu", workspace=folder,
        notify=lambda line: None,
    )  # fmt: skip
    assert set(Cache.open(report.cache).signals) == {
        "attention-input:1", "attention-input:2", "hidden:2", "pooled:mean",
    }  # fmt: skip
    shape = transformers.AutoConfig.from_pretrained(teacher)
    shape.hidden_size = 16
    shape.save_pretrained(folder / "student")
    transformers.AutoTokenizer.from_pretrained(teacher).save_pretrained(folder / "student")

    def run(out: str, method: str, **options: Any) -> Path:
        values = {
            "student": str(folder / "student"), "init": "random", "epochs": 1, "batch_size": 8,
            "learning_rate": 1e-3, "checkpoint_steps": 3, "workspace": folder, "out": folder / out,
        }  # fmt: skip
        if method != "base":
            values["cache"] = str(report.cache)
        return train(
            method, str(singles_data), **{"notify": lambda line: None, **values, **options}
        )

    return run


def test_a_run_with_learnt_maps_goes_on_as_if_unbroken(trained: Callable[..., Path]) -> None:
    whole = trained("whole", METHOD)
    with pytest.raises(Interrupt):
        trained("broken", METHOD, notify=None, reporter=stop_at(5))
    assert same(trained("broken", METHOD), whole)
    comparison = compare(whole, trained("base", "base"))
    assert {row.method for row in comparison.rows} == {"base", METHOD}
    terms = result(whole)["config"]["terms"]
    assert [term["name"] for term in terms] == ["kd", "tinybert", "minilm", "embedding"]
    assert result(whole)["fidelity"]["kl"] >= 0
