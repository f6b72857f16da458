"""A student made smaller before it is trained: fewer layers, fewer pieces."""
