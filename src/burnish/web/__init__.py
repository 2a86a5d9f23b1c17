"""The web application: runs as they go, models, chat, in a browser."""
