"""Ways of optimising a policy, measured on the quickstart's model."""
