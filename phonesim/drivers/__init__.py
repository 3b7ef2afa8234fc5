"""The only package that touches sockets, TLS, files, processes or the clock."""
