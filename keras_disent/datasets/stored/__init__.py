"""Read stored arrays: npy, npz, idx, NORB and HDF5 files, and a cache of rows.

Whatever opens a file raises `FileNotFoundError` without it, and a `ValueError` that names the file,
the rule and what came if its contents are malformed or end early. Nothing is ever unpickled.
"""
