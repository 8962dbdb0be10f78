"""The ML Test Score: what is recorded of a product, and a function for each of the 28 tests."""
