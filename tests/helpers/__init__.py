"""What tests share: drawn images, stand-ins, small models, pages that are up and processes to kill."""
