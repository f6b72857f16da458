"""`clin-edge bench`: how fast it reads here, and what others would be."""
