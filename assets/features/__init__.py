"""The stage of what a model may know of a row, with the moment it was known."""
