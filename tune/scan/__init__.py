"""A scan: files of spectra, or samples as they arrive, through a delivered network, with a journal of what is done."""
