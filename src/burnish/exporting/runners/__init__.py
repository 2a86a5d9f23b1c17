"""Programs that are copied into edge folders. They import nothing of burnish."""
