"""A search replayed from recorded learning curves: the very coordinator, simulated workers, a simulated clock."""
