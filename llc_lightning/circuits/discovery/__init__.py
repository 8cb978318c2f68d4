"""Ways to find circuits, one file each."""
