"""What survives: atomic files, sealed folders, checkpoints, tables, artifacts, the registry.

Everything here is written beside its place, made durable with fsync, and renamed in, so that a
kill at any moment leaves the old state or the new one.
"""
