"""The report as a page to look at: pictures beside the baseline's, and where time and memory go."""
