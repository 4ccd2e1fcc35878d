"""`python -m keras_disent`, the same as the command `keras-disent`."""

from keras_disent.cli import main

if __name__ == "__main__":
    main()
