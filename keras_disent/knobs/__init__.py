"""The page of knobs: a trained model with a slider for each latent, in one HTML file."""
