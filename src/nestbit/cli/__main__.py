"""``python -m nestbit.cli``, the same as ``nestbit``."""

from nestbit.cli import main

if __name__ == "__main__":
    main()
