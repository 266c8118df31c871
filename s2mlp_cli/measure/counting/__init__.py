"""Parameters, multiply-accumulates and activations, and what the papers print of them."""
