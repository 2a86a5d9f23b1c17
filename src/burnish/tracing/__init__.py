"""Where records come from and go to: lineage, quarantine, differences, spot checks, statistics."""
