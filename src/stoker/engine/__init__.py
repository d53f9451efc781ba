"""Executors that make batches (inline, threads, processes), and the delivery that puts their results in order."""
