"""What watches the outside world and the ledger, and asks for runs: new files, drift."""
