"""Models merged into one: pure methods over tensors, streamed; weights found by evaluation."""
