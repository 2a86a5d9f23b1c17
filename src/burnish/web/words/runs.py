"""What the pages about runs say."""

RUNS = {
    "runs": ("Runs", "运行"),
}
