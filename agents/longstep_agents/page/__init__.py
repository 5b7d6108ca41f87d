"""The page: runs and evaluations in a browser, down to the credit of a single step."""
