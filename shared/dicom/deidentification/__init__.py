"""De-identification by the profile of PS3.15 Annex E."""
