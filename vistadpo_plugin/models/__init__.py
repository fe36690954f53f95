"""One small file per model family that needs help beyond what the host gives it."""
