"""What calls return: reading it as arrays, and comparing two of them."""
