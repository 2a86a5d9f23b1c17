"""The web application: runs as they go, data, comparisons, models, chat, in a browser."""
