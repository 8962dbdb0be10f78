"""The stage of one trained model per algorithm."""
