"""Serving: the service, how it is packed into a bento, and how a new bento is asked before it goes live."""
