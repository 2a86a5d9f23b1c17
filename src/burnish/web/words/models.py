"""What the pages about models say."""

MODELS = {
    "models": ("Models", "模型"),
}
