"""Read stored arrays: npy, npz, idx, NORB and HDF5 files, checksums, and a cache of rows.

Malformed contents raise a `ValueError` that names the file. Nothing is ever unpickled.
"""
