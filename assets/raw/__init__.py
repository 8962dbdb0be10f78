"""The stage of the rows as they came, immutable, each with its batch and row number, and the quarantine beside them."""
