"""The kinds of components: a file registers what it knows of a kind, and being here is enough to be found."""
