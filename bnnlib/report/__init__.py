"""What is written from the results: tables, thresholds, figures, the generated parts of the pages."""
