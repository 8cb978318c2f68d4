"""What a researcher looks at: figures, the HTML page, and the TensorBoard dashboard, all from stored rows."""
