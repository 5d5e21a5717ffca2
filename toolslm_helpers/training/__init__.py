"""Training: pre-training and instruction tuning of opt-mini, and single-epoch SFT."""
