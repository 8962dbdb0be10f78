"""The stage of drift, performance on late labels, alerts."""
