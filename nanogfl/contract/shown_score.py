"""The score from which detections are shown, drawn and proposed as labels, unless a command is told otherwise."""

SHOWN_SCORE = 0.4
