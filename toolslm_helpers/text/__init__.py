"""Messages become numbers: the tokenizer, the protocol of a turn, and flattening with its loss mask."""
