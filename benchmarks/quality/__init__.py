"""Reconstructions at equal bits: this model beside other models and image codecs.

`python -m benchmarks.quality --root data/prostate --seconds 300` trains each model for the same
time with several seeds, compresses the same slices with each codec at the same rate, and writes a
table, `scores.csv`, `scores.json` and a figure. `--epochs N` gives each the same epochs instead.
docs/quality.md has the results, and says what was the same for all.
"""
