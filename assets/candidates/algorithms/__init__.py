"""One module per algorithm; a module registers itself by its name and its `ALGORITHM`."""
