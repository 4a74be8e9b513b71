"""The words that tiny models and their rows are made of."""

GOOD = ("bright", "warm", "lovely", "brilliant", "charming", "gentle", "honest", "joyful")
BAD = ("dull", "cold", "tedious", "clumsy", "hollow", "bitter", "noisy", "shallow")
PLAIN = (
    "the",
    "film",
    "story",
    "was",
    "and",
    "a",
    "scene",
    "with",
    "its",
    "music",
    "actor",
    "in",
    "very",
    "of",
    "it",
)
