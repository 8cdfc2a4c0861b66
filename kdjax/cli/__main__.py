"""python -m kdjax.cli"""

from kdjax.cli import main

if __name__ == "__main__":  # processes that decode images import this file again
    main()
