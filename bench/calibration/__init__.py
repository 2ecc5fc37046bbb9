"""How often good canaries are rolled back, and how soon bad ones: `python -m bench calibrate`, docs/calibration.md."""
