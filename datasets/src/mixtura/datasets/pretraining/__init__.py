"""Many sequences of any length: readers without pickle, normalisation, windows and packing."""
