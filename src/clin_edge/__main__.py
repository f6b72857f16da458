"""``python -m clin_edge``: the same as the ``clin-edge`` command."""

from clin_edge.cli import main

if __name__ == "__main__":
    main()
