"""The model: checkpoints, and the step from logits to the next token."""
