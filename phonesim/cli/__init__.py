"""The command line: one module a verb family, no logic of its own."""
