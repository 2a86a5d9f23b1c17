"""Models: loading, the packed forward pass, adapters, scalar heads."""
