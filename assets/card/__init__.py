"""The card of a model: what the ledger knows of it, as a page for people. Every stage may write one; none reads it."""
