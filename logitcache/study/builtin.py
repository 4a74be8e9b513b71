"""Built-in specs."""

SPECS: dict[str, dict] = {}
