"""Cut-outs from the sky: a catalogue becomes FITS files and a table of labels. The only home of astroquery."""
