"""Published data sets, read from downloaded files."""
