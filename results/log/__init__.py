"""The event log: records, recorder, state."""
