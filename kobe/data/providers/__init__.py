"""Sources of bars: files on disk and the made-up market. Each returns one frame in the store's columns."""
