"""``python -m toolslm_helpers.cli``: what ``toolslm`` is, where torchrun wants a module."""

from toolslm_helpers.cli import main

if __name__ == "__main__":  # a spawned process imports this file, too
    main()
