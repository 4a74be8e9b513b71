"""The command line: one file per command, each only parses what was asked and calls the library."""
