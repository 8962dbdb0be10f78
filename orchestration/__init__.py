"""Composes everything: specs become products, products become one code location."""
