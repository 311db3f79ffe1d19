"""Models of single assays on one partner's own rows: Gaussian process, random forest, and what is kept of them."""
