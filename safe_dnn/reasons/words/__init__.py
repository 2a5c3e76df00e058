"""Words for what people see in images, and how often the network fails on images that have them.

In order: which images are asked about, and the rate that follows (`rates`), and the answers (`tags`).
"""
