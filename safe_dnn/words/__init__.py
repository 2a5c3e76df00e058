"""Words for what people see in images, and how often the network fails on images that have them.

In order: which images are likely to have a word (`probe`), the sample to ask about (`drawing`), the rate (`rates`), and
the answers (`tags`).
"""
