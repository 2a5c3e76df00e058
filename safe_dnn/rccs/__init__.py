"""Root cause clusters (RCCs), and step 2: how the engineer inspects, searches, annotates and edits them.

`clusters` and `unsafe_set` are the records and their files; `parameters` and `profiles` say what the images of an RCC
have in common; `spots/` how often the DNN fails on images like them, and under which conditions; `review/` is what the
engineer notes about RCCs and weak spots, and edits.
"""
