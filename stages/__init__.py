"""One small script for each stage of the pipeline."""
