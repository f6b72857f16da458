"""The training side: teachers label notes, a small student learns from them."""
