"""The stage of the written decision: challenger against champion."""
