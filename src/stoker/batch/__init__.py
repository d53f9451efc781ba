"""Batches: what a row looks like, the memory that batches live in, and how whole batches travel."""
