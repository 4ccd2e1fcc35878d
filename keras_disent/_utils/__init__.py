"""Helpers of the package itself; nothing here is public."""
