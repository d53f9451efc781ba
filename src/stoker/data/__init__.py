"""Datasets: index to sample, or indices to batch. One file for each source."""
