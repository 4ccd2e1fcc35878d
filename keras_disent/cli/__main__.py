"""`python -m keras_disent.cli`."""

from keras_disent.cli import main

if __name__ == "__main__":
    main()
