"""Promotion of what the gate let through."""
