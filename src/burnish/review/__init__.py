"""Human verification: what people should look at, what they decided, and what follows from it."""
