"""Training of multi-player models, independent of data sets, metrics and run files."""
