"""Benchmarks: one file answers one question, and prints a ratio against a named peer."""
