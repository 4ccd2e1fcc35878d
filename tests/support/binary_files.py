"""Encode arrays as idx files (MNIST) and as NORB's binary matrix files."""

import struct

IDX = {"u1": 8, "i1": 9, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
NORB = {"u1": 0x55, "i4": 0x54, "i2": 0x56, "f4": 0x51, "f8": 0x53}


def idx_bytes(array):
    code = IDX[array.dtype.str[1:]]
    return struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape) + array.tobytes()


def norb_bytes(array):
    sizes = array.shape + (1,) * (3 - array.ndim)
    magic = 0x1E3D4C00 + NORB[array.dtype.str[1:]]
    return struct.pack(f"<Ii{len(sizes)}i", magic, array.ndim, *sizes) + array.tobytes()
