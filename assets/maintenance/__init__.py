"""Keep a lake small and clean: merge, expire, delete what nothing refers to."""
