"""The vocabulary: frozen messages and enums that cross API, workflows and activities."""
