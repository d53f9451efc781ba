"""The packed format: a manifest and Arrow IPC shards. `docs/format.md` is its specification."""
