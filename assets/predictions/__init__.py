"""The stage of scores of the newest batch by the live model, made before its labels are looked at."""
