"""Read stored arrays: npy, npz, idx, NORB and HDF5 files, checksums, and a cache of rows.

Files are untrusted input: malformed contents raise a `ValueError`, nothing is unpickled, and the
sizes in a header are checked before memory is allocated.
"""
