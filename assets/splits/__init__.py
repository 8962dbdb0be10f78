"""The stage of which rows train, validate and test as of a batch."""
