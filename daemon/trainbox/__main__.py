"""``python -m trainbox`` is the ``trainbox`` command."""

from trainbox.cli import main

if __name__ == "__main__":
    main()
