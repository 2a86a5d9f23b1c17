"""``python -m burnish``, and so ``torchrun -m burnish``: the command line."""

from __future__ import annotations

from burnish.cli.main import main

if __name__ == "__main__":
    main()
