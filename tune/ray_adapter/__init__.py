"""Ray: the cluster, and searcher and scheduler as adapters."""
