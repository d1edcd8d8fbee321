"""The scenario: the YAML file that says what is run, checked before anything runs."""
