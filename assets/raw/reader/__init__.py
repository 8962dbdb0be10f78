"""Reading a delivered file, which nobody trusts: in a disposable process, to Parquet of the contract's types."""
