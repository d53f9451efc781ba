"""What other libraries need around a loader, one file for each. Most need nothing: examples/ shows plain uses."""
