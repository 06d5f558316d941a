"""What an intervention did: conditions in, tidy tables out."""
