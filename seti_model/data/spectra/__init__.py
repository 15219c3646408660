"""Spectra as telescopes write them: filterbank files and time series, cut into tiles that a network can be shown."""
