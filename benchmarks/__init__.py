"""burnish against TRL, as a ratio measured in one run; see README.md. Not part of the wheel."""
