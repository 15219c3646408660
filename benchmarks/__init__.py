"""Speed against what one would do without this package. Ratios travel between machines, absolute times do not."""
