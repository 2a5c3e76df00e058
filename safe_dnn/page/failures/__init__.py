"""The tab Failures: what a DNN gets wrong."""
