"""Reading other people's images: course CSV files, NumPy archives, PNG and FITS pictures, tables of labels."""
