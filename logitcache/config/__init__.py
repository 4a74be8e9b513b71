"""Every option, declared once: on the dataclass field that holds its value.

The command line, the Python functions, validation, ``run.json``, the forecast and the reference
tables of docs/cli.md are read from these declarations. Nothing here imports torch.
"""
