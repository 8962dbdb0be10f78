"""The stages of a product's journey, one folder each in the data's order; no sibling top-level package is imported."""
