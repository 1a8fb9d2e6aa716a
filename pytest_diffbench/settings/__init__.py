"""Options of the command line, the ini file and the marker, and what their values may be."""
