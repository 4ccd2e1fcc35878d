"""Private helpers of the package."""
