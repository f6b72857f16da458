"""One logger for the whole package. It speaks of files, ids and counts, never of a note's text."""

import logging

log = logging.getLogger("clin_edge")
log.addHandler(logging.NullHandler())
