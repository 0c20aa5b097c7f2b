"""When schedules fire: cron, times, exclusions, Temporal specs, validation, plain words."""
