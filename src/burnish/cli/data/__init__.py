"""``data``: one file a command."""
