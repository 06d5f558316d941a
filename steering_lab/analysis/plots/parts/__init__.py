"""What figures share: the look, the layout, labels and marks, and tables laid out for drawing."""
