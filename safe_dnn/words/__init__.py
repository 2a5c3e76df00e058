"""What somebody sees in images, as a word that is asked of some of them; how often the network fails where it holds.

In order: what says which images may have it (`probe`), which are drawn to be asked (`drawing`), the rate (`rates`), and
what was answered (`tags`).
"""
