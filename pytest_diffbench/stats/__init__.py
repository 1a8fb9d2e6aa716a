"""Statistics of times: steadiness, variances, how many rounds are enough. Imports nothing of this package."""
