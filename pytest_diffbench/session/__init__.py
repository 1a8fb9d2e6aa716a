"""One pytest session: collection, fixtures, measuring, judging, saving and what is told of it."""
