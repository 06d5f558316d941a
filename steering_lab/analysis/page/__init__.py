"""The template, style and script of a run's page; `steering_lab.analysis.report` puts them together."""
