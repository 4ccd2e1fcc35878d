#!/bin/sh
# Print the newest Python here that the backends serve: one on PATH, or one of pyenv.
for version in 3.13 3.12 3.11; do
    for python in "python$version" "$HOME/.pyenv/versions/$version".*/bin/python; do
        if "$python" -c "" 2>/dev/null; then
            echo "$python"
            exit
        fi
    done
done
echo python3
