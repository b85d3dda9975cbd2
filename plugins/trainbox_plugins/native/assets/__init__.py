"""Files that scripts find beside them."""
