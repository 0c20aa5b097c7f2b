"""The command groups of `cloudsweep`; each speaks to the API with the API's own words."""
