"""Requests sent to one of several models: a router trained from evaluations, and its measure."""
