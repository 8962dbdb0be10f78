"""The stage of how good each candidate is on rows it has not seen, and the quality blessing."""
