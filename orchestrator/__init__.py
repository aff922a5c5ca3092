"""Clone one Okta signing key into many apps, within the org's rate limits, with proof."""

__version__ = "0.1.0"
