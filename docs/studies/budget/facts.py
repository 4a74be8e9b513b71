"""Figures of the page that no trial has: of the corpus, of test, and of the teacher.

python facts.py logitcache-studies/budget models/teacher > facts.json
"""

import json
import sys
from pathlib import Path

import numpy as np

from logitcache.cache.cache import Cache


def hidden(cache):
    """(tokens of all rows, hidden tokens: those with a label)"""
    tokens = cache.tokens(np.arange(len(cache)))
    labels = tokens["labels"].values
    return len(tokens["input_ids"].values), labels[labels >= 0]


def main(study, teacher):
    caches = {}
    for plan in study.glob("caches/fresh-*/plan.json"):
        cache = Cache.open(plan.parent)
        caches[cache.manifest.plan.data["split"]] = cache
    tokens, words = hidden(caches["train"])
    _, test = hidden(caches["test"])
    counts = np.bincount(words, minlength=caches["train"].codec.width) + 0.5
    facts = {
        "fresh_tokens": tokens,
        "test_hidden_tokens": len(test),
        "test_loss_of_word_frequencies": float(-np.log(counts / counts.sum())[test].mean()),
        "test_loss_of_teacher": json.loads((teacher / "result.json").read_text())["metrics"][
            "test"
        ]["nll"],
    }
    print(json.dumps(facts, indent=1))


main(Path(sys.argv[1]), Path(sys.argv[2]))
