"""What came out: the event log of a run and everything derived from it. Knows no Ray and no Keras."""
