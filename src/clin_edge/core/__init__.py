"""What training and the edge share, from notes and spans to decoding, scores and bundles.

Nothing here imports torch, transformers, an inference engine or a network client.
"""
