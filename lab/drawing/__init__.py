"""The pictures of the documents: of the method, and of the page."""
