"""What is served and to whom: the door, the guard, and the analyses, a page each."""
