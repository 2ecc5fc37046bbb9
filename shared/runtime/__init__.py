"""What every process needs whatever it does: settings, logs, metrics, health, traces, a clock, and an orderly life."""
