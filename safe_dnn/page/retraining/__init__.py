"""The tab Retraining: one model beside another."""
