"""How a model with one or more players learns. It knows nothing of data sets, scores and files."""
