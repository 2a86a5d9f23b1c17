"""What the chat page says."""

CHAT = {
    "chat": ("Chat", "对话"),
}
