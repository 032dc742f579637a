"""The torch-free runtime: sessions, command line, HTTP and browser."""
