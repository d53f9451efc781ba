"""From a source to a store and back: parallel, resumable, atomic. `stoker.pack` is the door."""
