"""From what a language model quotes to where it stands in a note."""
